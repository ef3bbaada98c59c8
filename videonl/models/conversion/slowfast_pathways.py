"""PySlowFast's networks of two pathways under the names of pytorchvideo, whose network of two pathways is ours."""

import re
from collections.abc import Mapping

from torch import Tensor

from videonl.blocks.importing import PUBLIC_MODULES

BLOCK = {**PUBLIC_MODULES["pyslowfast"], "norm": "norm"}
FUSION = {"conv_f2s": "conv_fast_to_slow", "bn": "norm"}
STEM = {"conv": "conv", "bn": "norm"}
BRANCH = {
    "branch1": "branch1_conv",
    "branch1_bn": "branch1_norm",
    **{f"branch2.{letter}": f"branch2.conv_{letter}" for letter in "abc"},
    **{f"branch2.{letter}_bn": f"branch2.norm_{letter}" for letter in "abc"},
}
HEAD = "blocks.6.proj"


def has_two_pathways(weights: Mapping[str, Tensor]) -> bool:
    """Whether weights of PySlowFast are of a network with a fast pathway beside the slow one."""
    return any(".pathway1_" in key for key in weights)


def rename_pathways(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], dict[str, Tensor]]:
    """Renames the weights of a file.

    Returns:
        The weights under our keys; the keys that no such network has; and the weights of non-local blocks by place, as
        :func:`videonl.models.conversion.nonlocal_blocks.split_blocks` reads them.
    """
    renamed, left_over, blocks = {}, [], {}
    for key, weight in weights.items():
        module, _, parameter = key.rpartition(".")
        ours = _module(module)
        if ours is None:
            left_over.append(key)
            continue
        renamed[f"{ours}.{parameter}"] = weight
        if found := re.fullmatch(r"blocks\.(\d)\..*\.res_blocks\.(\d+)(\.block\..+)", ours):
            blocks[f"res{int(found[1]) + 1}.{found[2]}{found[3]}.{parameter}"] = weight
    return renamed, left_over, blocks


def _module(name: str) -> str | None:
    if name == "head.projection":
        return HEAD
    found = re.fullmatch(r"s([1-5])(?:\.pathway([01])_(stem|res\d+|nonlocal\d+)|_fuse)\.(.+)", name)
    if found is None:
        return None
    level, part, inside = int(found[1]) - 1, found[3], found[4]
    if part is None:
        return f"blocks.{level}.multipathway_fusion.{FUSION[inside]}" if inside in FUSION else None
    pathway = f"blocks.{level}.multipathway_blocks.{found[2]}"
    if part == "stem":
        return f"{pathway}.{STEM[inside]}" if inside in STEM else None
    residual = f"{pathway}.res_blocks.{re.sub('[a-z]', '', part)}"
    if part.startswith("nonlocal"):
        return f"{residual}.block.{BLOCK[inside]}" if inside in BLOCK and found[2] == "0" else None
    return f"{residual}.{BRANCH[inside]}" if inside in BRANCH else None
