"""PySlowFast's C2D, I3D, Slow and SlowFast, with its non-local blocks (facebookresearch/SlowFast)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from torch import Tensor

from videonl.backbones import Head, Stem
from videonl.backbones.slowfast import ALPHA, BETA, SLOWFASTS
from videonl.blocks.importing import PUBLIC_MODULES
from videonl.errors import UserError
from videonl.models.conversion.checkpoint_io import tensors
from videonl.models.conversion.foreign import Foreign, Options, Place, Stated, sampling
from videonl.models.conversion.nonlocal_blocks import options_of, pairwise_of, split_blocks
from videonl.models.conversion.pytorchvideo_hub import HUB, hub_network
from videonl.models.conversion.resnet_names import ResNetNames, backbone_of
from videonl.models.conversion.slowfast_pathways import has_two_pathways, rename_pathways

RESIDUAL = "s{stage}.pathway0_res{index}"
NONLOCAL = "s{stage}.pathway0_nonlocal{index}"
NAMES = ResNetNames(
    stem=("s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
    shortcut=(f"{RESIDUAL}.branch1", f"{RESIDUAL}.branch1_bn"),
    branch=(
        *(f"{RESIDUAL}.branch2.a", f"{RESIDUAL}.branch2.a_bn"),
        *(f"{RESIDUAL}.branch2.b", f"{RESIDUAL}.branch2.b_bn"),
        *(f"{RESIDUAL}.branch2.c", f"{RESIDUAL}.branch2.c_bn"),
    ),
    head="head.projection",
    block={
        **{f"{NONLOCAL}.{theirs}": ours for theirs, ours in PUBLIC_MODULES["pyslowfast"].items()},
        f"{NONLOCAL}.norm": "norm",  # in its first releases
    },
)
PAIRWISE = {"softmax": "embedded_gaussian", "dot_product": "dot_product"}  # of ours, by NONLOCAL.INSTANTIATION
POOLS = {(1, 2, 2): True, (1, 1, 1): False}
# What our ResNets are, by entry of its configuration; absent entries have these values there too.
SAME = {
    "RESNET.TRANS_FUNC": "bottleneck_transform",
    "RESNET.NUM_GROUPS": 1,
    "RESNET.STRIDE_1X1": False,
    "RESNET.SPATIAL_STRIDES": [[1], [2], [2], [2]],
    "RESNET.SPATIAL_DILATIONS": [[1], [1], [1], [1]],
    "NONLOCAL.GROUP": [[1], [1], [1], [1]],
    "DATA.REVERSE_INPUT_CHANNEL": False,
    "DETECTION.ENABLE": False,
}
ARCHITECTURES = ("c2d", "i3d", "slow", "slowfast")
# What our networks of two pathways are, and what absent entries stand for.
PATHWAYS = {
    "SLOWFAST.ALPHA": (ALPHA, 8),
    "SLOWFAST.BETA_INV": (BETA, 8),
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO": (2, 2),
}
SAMPLING = {name: HUB[name].sampling for name in SLOWFASTS}
DEFAULTS = {
    "NONLOCAL.INSTANTIATION": "dot_product",
    "DATA.MEAN": [0.45] * 3,
    "DATA.STD": [0.225] * 3,
    # Without a configuration these are of its model zoo, whose Slow of 4x16 has a name that says so.
    "DATA.NUM_FRAMES": 8,
    "DATA.SAMPLING_RATE": 8,
    "DATA.TRAIN_CROP_SIZE": 224,
    "DATA.TEST_CROP_SIZE": 256,
    "MODEL.HEAD_ACT": "softmax",
    "MULTIGRID.SHORT_CYCLE": False,
}
STRIDE_PX = 32  # of the last stage


def slowfast(content: Any, stated: Stated) -> Foreign:
    """A checkpoint of its training, which carries its configuration, or weights alone with what was stated."""
    weights = tensors(content, ("model_state",), "PySlowFast")
    config = _configuration(content)
    if has_two_pathways(weights):
        return _two_pathways(weights, config, stated)
    placed, left_over = NAMES.rename(weights)
    if config is None:
        stated.require({"backbone": "c2d_r50, i3d_r50 or slow_r50 as in RESNET.DEPTH and MODEL.ARCH, not *_nopool"})
    blocks = split_blocks(placed)
    return Foreign(
        weights=placed,
        left_over=left_over,
        backbone=stated.backbone or backbone_of(placed),
        blocks={place: _block(block, place, config, stated) for place, block in blocks.items()},
        stem=Stem(*stated.strides) if stated.strides else Stem(),
        head=_head({**DEFAULTS, **(config or {})}),
        clip=_clip(config or {}, stated),
    )


def _two_pathways(weights: Mapping[str, Tensor], config: dict[str, Any] | None, stated: Stated) -> Foreign:
    """A SlowFast network, which is that of pytorchvideo's hub under other names, with blocks on its slow pathway."""
    if config is None:
        stated.require({"backbone": f"{', '.join(SLOWFASTS)}, for SLOWFAST.ALPHA {ALPHA} alone"})
    for name, (ours, default) in PATHWAYS.items():
        if config is not None and config.get(name, default) != ours:
            raise UserError(f"{name} is {config.get(name, default)} in the file's configuration; videonl has {ours}")
    renamed, left_over, blocks = rename_pathways(weights)
    hub = hub_network(renamed, stated)
    if hub is None:
        raise UserError("the file lacks the stem of a SlowFast network")
    known = {**DEFAULTS, **dict(zip(("DATA.NUM_FRAMES", "DATA.SAMPLING_RATE"), SAMPLING[hub.backbone], strict=True))}
    return replace(
        hub,
        left_over=left_over,
        blocks={place: _block(block, place, config, stated) for place, block in split_blocks(blocks).items()},
        head=_head({**known, **(config or {})}),
        clip=_clip({**known, **(config or {})}, stated),
    )


def _configuration(content: Any) -> dict[str, Any] | None:
    """Its configuration by dotted name, checked against what ours compute; None where the file has none."""
    text = content.get("cfg")
    if not isinstance(text, str):
        return None
    try:
        sections = yaml.safe_load(text)
        config = {f"{name}.{key}": value for name, section in sections.items() for key, value in _entries(section)}
    except (yaml.YAMLError, AttributeError) as error:
        raise UserError(f"the configuration in the file (cfg) is not the YAML of PySlowFast: {error}") from error
    if config.get("MODEL.ARCH") not in ARCHITECTURES:
        raise UserError(f"MODEL.ARCH {config.get('MODEL.ARCH')} has no counterpart; {', '.join(ARCHITECTURES)} have")
    for name, ours in SAME.items():
        if _of_pathways(config.get(name, ours)) != ours:
            raise UserError(f"{name} is {config[name]} in the file's configuration; videonl's ResNets have {ours}")
    return config


def _of_pathways(value: Any) -> Any:
    """Values by stage and pathway as those of one, where both have the same: [[1, 1], [2, 2]] is [[1], [2]]."""
    if not isinstance(value, list):
        return value
    return [each[:1] if isinstance(each, list) and each[1:] == each[:1] else each for each in value]


def _entries(section: Any) -> list[tuple[str, Any]]:
    return list(section.items()) if isinstance(section, Mapping) else []


def _block(block: Mapping[str, Tensor], place: Place, config: dict[str, Any] | None, stated: Stated) -> Options:
    if "norm.weight" not in block:
        raise UserError(f"the non-local block after {place[0]}.{place[1]} has no batch norm; PySlowFast's has")
    if config is None:
        stated.require({"pairwise": "by NONLOCAL.INSTANTIATION", "subsample": "true for NONLOCAL.POOL [1, 2, 2]"})
        pairwise, pooled = pairwise_of(block, stated, "by NONLOCAL.INSTANTIATION"), bool(stated.subsample)
    else:
        instantiation = config.get("NONLOCAL.INSTANTIATION", DEFAULTS["NONLOCAL.INSTANTIATION"])
        if instantiation not in PAIRWISE:
            raise UserError(f"NONLOCAL.INSTANTIATION {instantiation} has no counterpart; {', '.join(PAIRWISE)} have")
        pairwise = PAIRWISE[instantiation]
        pooled = _pooled(config, int(place[0].removeprefix("res")) - 2)
    # Its softmax always divides by sqrt(dim_inner), and what it pools is x.
    return options_of(block, pairwise, pool_order="pre" if pooled else None, scale=True)


def _pooled(config: dict[str, Any], stage: int) -> bool:
    pool = tuple(config["NONLOCAL.POOL"][stage][0]) if "NONLOCAL.POOL" in config else (1, 2, 2)
    if pool not in POOLS:
        raise UserError(f"NONLOCAL.POOL {list(pool)} has no counterpart; [1, 2, 2] and [1, 1, 1] have")
    return POOLS[pool]


def _head(config: Mapping[str, Any]) -> Head | None:
    """Its head in tests, whose windows are as large as the grid of the training; None where that averages all cells."""
    if config["MULTIGRID.SHORT_CYCLE"] or config["MODEL.HEAD_ACT"] != "softmax":
        return None
    return Head(window=int(config["DATA.TRAIN_CROP_SIZE"]) // STRIDE_PX, averaged="probabilities")


def _clip(config: Mapping[str, Any], stated: Stated) -> dict[str, Any]:
    known = {**DEFAULTS, **config}
    crop_px = int(known["DATA.TRAIN_CROP_SIZE"])
    return {
        "mean": tuple(map(float, known["DATA.MEAN"])),
        "std": tuple(map(float, known["DATA.STD"])),
        # In its tests the short side becomes as long as the crop.
        "short_side_px": max(int(known["DATA.TEST_CROP_SIZE"]), crop_px),
        "crop_px": crop_px,
        **sampling(stated, (int(known["DATA.NUM_FRAMES"]), int(known["DATA.SAMPLING_RATE"]))),
    }
