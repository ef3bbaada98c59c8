"""Even attention: what a block would read if all keys were alike to its queries, the measure of all shares."""

import torch
from torch import Tensor

from videonl.blocks import AttentionBlock, GlobalContext, NonLocal
from videonl.blocks.reach import reachable_keys


def has_attention(block: AttentionBlock) -> bool:
    """Whether a block chooses what it reads; squeeze and excitation takes the average, whatever the clip."""
    return not (isinstance(block, GlobalContext) and block.mask is None)


def even_weights(block: AttentionBlock, features: tuple[Tensor, ...], queries: Tensor, keys: torch.Size) -> Tensor:
    """The weights that some positions would have if every key matched them alike.

    Uniform over the keys in reach; of recurrent and axial blocks the product of uniform hops; of pyramids uniform over
    the bins.

    Args:
        block: Any block.
        features: Its inputs: x (B, C, T, H, W), and the features of an earlier stage for blocks that take them.
        queries: Flat indices of the asked positions, (Q,).
        keys: The key grid (T', H', W').

    Returns:
        (B, Q, T', H', W').
    """
    x, *low = (torch.zeros_like(part) for part in features)
    if block.weights_sum_to_one:
        # Projections are of one position each: where all features are equal so are all affinities.
        return block.attention(x, queries, *low)
    even = torch.ones(len(queries), keys.numel(), device=x.device)
    if isinstance(block, NonLocal) and block.reach != "spacetime":
        even = reachable_keys(queries, x.shape[2:], keys, block.reach, block.group_frames).float()
    even = even / even.sum(dim=1, keepdim=True)
    return even.reshape(1, -1, *keys).expand(x.shape[0], -1, -1, -1, -1)
