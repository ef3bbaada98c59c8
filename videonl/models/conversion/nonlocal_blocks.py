"""What the weights of foreign non-local blocks tell about their options, and what has to be stated."""

from collections.abc import Mapping

import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.models.conversion.foreign import Options, Place, Stated

Blocks = dict[Place, dict[str, Tensor]]


def split_blocks(placed: Mapping[str, Tensor]) -> Blocks:
    """The weights of every non-local block, by the residual that it follows and our key within the block."""
    blocks: Blocks = {}
    for key, weight in placed.items():
        place, inside, name = key.partition(".block.")
        if inside:
            stage, _, index = place.partition(".")
            blocks.setdefault((stage, int(index)), {})[name] = weight
    return blocks


def pairwise_of(block: Mapping[str, Tensor], stated: Stated, hint: str) -> str:
    """The block's pairwise function: from its weights where they tell, else as stated.

    The Gaussian has no theta, the concatenation a vector of its own, and the two that are left have the same weights.

    Raises:
        UserError: When it was not stated although it has to be, or something was stated that the weights are not of.
    """
    found: tuple[str, ...]
    if "theta.weight" not in block:
        found = ("gaussian",)
    elif "concat" in block:
        found = ("concatenation",)
    else:
        stated.require({"pairwise": hint})
        found = ("embedded_gaussian", "dot_product")
    if stated.pairwise is not None and stated.pairwise not in found:
        raise UserError(f"--pairwise {stated.pairwise} does not fit the file: its blocks are {' or '.join(found)}")
    return stated.pairwise or found[0]


def options_of(block: Mapping[str, Tensor], pairwise: str, *, pool_order: str | None, scale: bool) -> Options:
    """Options of our block with these weights.

    Args:
        block: By our key within a block.
        pairwise: Its function.
        pool_order: What the keys' and values' pool sees; None without one.
        scale: Whether logits are scaled, where the function has any.

    Raises:
        UserError: When the weights lack g or the last convolution, without which there is no block.
    """
    for key in ("g.weight", "out.weight"):
        if key not in block:
            raise UserError(f"a non-local block of the file has no {key.removesuffix('.weight')}")
    options: Options = {"pairwise": pairwise, "subsample": pool_order is not None}
    if pool_order is not None:
        options["pool_order"] = pool_order
    if pairwise == "embedded_gaussian":
        options["scale"] = scale
    dim_inner, channels = block["g.weight"].shape[:2]
    if dim_inner != max(channels // 2, 1):
        options["dim_inner"] = dim_inner
    if "norm.weight" not in block:
        options["norm"] = "none"
    return options


def with_biases(placed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds zero biases to the blocks' projections that have none, which is the same function in our form."""
    filled = dict(placed)
    for key, weight in placed.items():
        bias = f"{key.removesuffix('weight')}bias"
        if ".block." in key and key.endswith(".weight") and weight.ndim > 1 and bias not in placed:
            filled[bias] = torch.zeros(weight.shape[0], dtype=weight.dtype)
    return filled
