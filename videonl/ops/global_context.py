"""Global context: all positions pooled into one vector, which then changes every position in the same way.

Source: Cao et al. 2019, "GCNet", equations 4 to 6, arXiv:1904.11492.
Shapes: B batch, C channels, grid any number of axes with N positions in all.
"""

import torch
from torch import Tensor


def attention_pooling(x: Tensor, affinity: Tensor) -> Tensor:
    """Averages positions with softmax weights: ``context = sum_j softmax_j(affinity) x_j``.

    Args:
        x: Features, (B, C, *grid).
        affinity: One logit for each position, (B, *grid).

    Returns:
        The context, (B, C).
    """
    weights = attention_pooling_weights(affinity).flatten(1)
    return torch.matmul(x.flatten(2), weights.unsqueeze(2)).squeeze(2)  # (B, C, N) x (B, N, 1) -> (B, C)


def attention_pooling_weights(affinity: Tensor) -> Tensor:
    """Weights with which attention pooling reads the positions.

    Args:
        affinity: One logit for each position, (B, *grid).

    Returns:
        Weights, (B, *grid), that sum to 1 for each of the batch.
    """
    return affinity.flatten(1).softmax(dim=1).reshape(affinity.shape)


def fuse(x: Tensor, change: Tensor, fusion: str) -> Tensor:
    """Applies one vector to every position.

    Args:
        x: Features, (B, C, *grid).
        change: The transformed context, (B, C).
        fusion: ``add`` is ``x + t``; ``multiply`` is ``x * sigmoid(t)``, as published: half of x where t is 0;
            ``multiply_from_one`` is ``x * 2 sigmoid(t)``, which is x where t is 0.

    Returns:
        Features, (B, C, *grid).

    Raises:
        ValueError: For another fusion.
    """
    t = change.reshape(*change.shape, *[1] * (x.ndim - 2))  # (B, C) -> (B, C, 1, ..., 1)
    if fusion == "add":
        return x + t
    if fusion == "multiply":
        return x * t.sigmoid()
    if fusion == "multiply_from_one":
        return x * (2 * t.sigmoid())
    raise ValueError(f"fusion must be one of add, multiply, multiply_from_one; got {fusion!r}")
