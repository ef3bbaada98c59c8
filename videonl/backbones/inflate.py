"""Weights of a 2D ImageNet ResNet as initial weights of a 3D one.

Source: Carreira and Zisserman 2017, arXiv:1705.07750, for kernels repeated along time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from videonl.backbones.contract import Backbone
from videonl.errors import UserError

Inflation = Literal["repeat", "center"]
MODULES = {
    **{f"conv{number}": f"branch2.conv_{letter}" for number, letter in ((1, "a"), (2, "b"), (3, "c"))},
    **{f"bn{number}": f"branch2.norm_{letter}" for number, letter in ((1, "a"), (2, "b"), (3, "c"))},
    "downsample.0": "branch1_conv",
    "downsample.1": "branch1_norm",
}


@dataclass(frozen=True)
class Inflated:
    """The result of inflating 2D weights.

    Attributes:
        state: Weights by key of the 3D network.
        widened: Those of them whose kernel spans several frames, which a still video alone tells from 2D.
        unused: Keys of the 2D weights that have no place in the 3D network, such as those of ``fc``.
        missing: Keys of the 3D network that the 2D weights say nothing about, such as those of its head and of inserted
            blocks; they keep their own values when ``state`` is loaded with ``strict=False``.
    """

    state: dict[str, Tensor]
    widened: list[str]
    unused: list[str]
    missing: list[str]


def inflate(weights: Mapping[str, Tensor], backbone: Backbone, how: Inflation = "repeat") -> Inflated:
    """Inflates the weights of torchvision's ``resnet50`` or ``resnet101`` to C2D, I3D or Slow of the same depth.

    A still video gets the answer of the 2D network: at every frame with ``center``, and with ``repeat`` at those whose
    receptive field does not touch the zeros before the first and after the last frame.

    Args:
        weights: The 2D ``state_dict``.
        backbone: The 3D network; it is not changed.
        how: ``repeat`` spreads a kernel evenly over its frames, ``center`` gives all of it to the middle one.

    Returns:
        The 3D weights, and every key left over on either side.

    Raises:
        UserError: For another ``how``, when nothing fits, or when a shape differs; the message names every such key.
    """
    if how not in get_args(Inflation):
        raise UserError(f"inflation must be one of {', '.join(get_args(Inflation))}; got {how!r}")
    own = backbone.network.state_dict()
    places = {source: target for source, target in _places(backbone) if source in weights and target in own}
    if not places:
        raise UserError("none of the weights are those of a torchvision ResNet (conv1.weight, layer1.0.conv1.weight)")
    state = {target: inflated_kernel(weights[source], own[target], how) for source, target in places.items()}
    if wrong := [key for key, value in state.items() if value.shape != own[key].shape]:
        told = (f"{key} is {tuple(own[key].shape)}, the weights {tuple(state[key].shape)}" for key in wrong)
        raise UserError(f"2D weights do not fit the 3D network: {'; '.join(told)}")
    return Inflated(
        state,
        widened=[key for key, value in state.items() if value.ndim == 5 and value.shape[2] > 1],
        unused=[key for key in weights if key not in places],
        missing=[key for key in own if key not in state],
    )


def _places(backbone: Backbone) -> Iterator[tuple[str, str]]:
    """Keys of the 2D network, and where their values go."""
    modules = {"conv1": "blocks.0.conv", "bn1": "blocks.0.norm"}
    for number, stage in enumerate(("res2", "res3", "res4", "res5"), start=1):
        for index, path in enumerate(backbone.stages.get(stage, ())):
            modules |= {f"layer{number}.{index}.{source}": f"{path}.{target}" for source, target in MODULES.items()}
    for source, target in modules.items():
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            yield f"{source}.{name}", f"{target}.{name}"


def inflated_kernel(weight: Tensor, own: Tensor, how: Inflation = "repeat") -> Tensor:
    """One weight as its 3D counterpart has it: (O, I, H, W) -> (O, I, T, H, W); others as they are."""
    if weight.ndim != 4 or own.ndim != 5:
        return weight.clone()
    num_frames = own.shape[2]
    if how == "repeat":
        return weight.unsqueeze(2).repeat(1, 1, num_frames, 1, 1) / num_frames  # (O, I, H, W) -> (O, I, T, H, W)
    inflated = torch.zeros(*weight.shape[:2], num_frames, *weight.shape[2:], dtype=weight.dtype, device=weight.device)
    inflated[:, :, num_frames // 2] = weight
    return inflated
