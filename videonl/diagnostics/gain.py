"""The parameter through which a block's change enters, and which starts at zero."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from videonl.blocks import AttentionBlock
from videonl.blocks.criss_cross import LineHops


class Gain(NamedTuple):
    """How large a block's last scale is.

    Attributes:
        value: The root of the mean square of the scale's entries; 0 where the block is at its start.
        of: Which scale: the ``norm`` after the projection, the ``gamma`` of hops, or ``W``, the projection itself.
    """

    value: float
    of: str


def gain_of(block: AttentionBlock) -> Gain:
    """The scale that a block's change goes through last.

    For non-local blocks with a norm that norm's gamma, for criss-cross and axial ones the gammas of their hops, for all
    others the weights and biases of the last projection, which have other units.
    """
    if isinstance(block, LineHops):
        return Gain(_size([hop.gamma for hop in block.hops()]), "gamma")
    weight = getattr(getattr(block, "norm", None), "weight", None)
    if isinstance(weight, Tensor):
        return Gain(_size([weight]), "norm")
    out = block.get_submodule("out")
    assert isinstance(out, nn.Module)
    return Gain(_size(list(out.parameters())), "W")


def _size(parameters: list[Tensor]) -> float:
    return float(torch.cat([parameter.detach().float().flatten() for parameter in parameters]).square().mean().sqrt())
