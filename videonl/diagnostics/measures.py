"""Measures of attention weights, as pure functions.

Shapes: B clips, Q queries, (T', H', W') the key grid, M = T' * H' * W' keys. Weights are distributions, not negative
and with rows that sum to 1, as :func:`distribution` makes them; only :func:`query_distance` takes any.
"""

import math

import torch
from torch import Tensor


def distribution(weights: Tensor) -> Tensor:
    """The share of every key in a query's weight: ``|w| / sum |w|``; a row of zeros stays a row of zeros.

    Softmax weights are such shares already. Those of the dot product and the concatenation do not sum to 1, and those
    of the dot product may be negative: their absolute values count.

    Args:
        weights: (B, Q, T', H', W').

    Returns:
        The same shape, float64.
    """
    sizes = weights.double().abs()
    total = sizes.sum(dim=(2, 3, 4), keepdim=True)
    return sizes / total.masked_fill(total == 0, 1)


def entropy(weights: Tensor) -> Tensor:
    """Entropy of every row divided by that of uniform weights, log M: 0 for a single key, 1 for uniform weights.

    Args:
        weights: (B, Q, T', H', W').

    Returns:
        (B, Q); 1 if there is a single key.
    """
    num_keys = weights.shape[2:].numel()
    if num_keys == 1:
        return torch.ones_like(weights[:, :, 0, 0, 0])
    nats: Tensor = torch.special.entr(weights).sum(dim=(2, 3, 4))
    return nats / math.log(num_keys)


def box_share(weights: Tensor, frames: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The share of every row's weight in a box of keys.

    Args:
        weights: (B, Q, T', H', W').
        frames: Which key frames the box of each query has, (Q, T') bool; all, as (1, 1), where it has every one.
        rows: (Q, H') likewise.
        columns: (Q, W') likewise.

    Returns:
        (B, Q).
    """
    inside = frames[:, :, None, None] & rows[:, None, :, None] & columns[:, None, None, :]
    return (weights * inside).sum(dim=(2, 3, 4))


def mean_over_frames(weights: Tensor, of_frames: Tensor) -> Tensor:
    """The mean of a number that each query gives each key frame, (Q, T'), under every row's weights: (B, Q)."""
    return torch.einsum("bqthw,qt->bq", weights, of_frames)


def mean_over_places(weights: Tensor, of_places: Tensor) -> Tensor:
    """The mean of a number that each query gives each key place, (Q, H', W'), under every row's weights: (B, Q)."""
    return torch.einsum("bqthw,qhw->bq", weights, of_places)


def unevenness(weights: Tensor, even: Tensor) -> Tensor:
    """Share of every row's weight that would have to move to make it uniform: half the sum of absolute differences.

    Args:
        weights: (B, Q, T', H', W').
        even: The rows of uniform attention, of the same shape.

    Returns:
        (B, Q), from 0 to 1.
    """
    return (weights - even).abs().sum(dim=(2, 3, 4)) / 2


def unit_sum(weights: Tensor) -> Tensor:
    """The sum over queries of the rows, each scaled to length 1: (B, T', H', W').

    Sums over parts of the queries add up, and from the whole follows :func:`query_distance`: no need for all rows.
    """
    return (weights / weights.square().sum(dim=(2, 3, 4), keepdim=True).sqrt()).sum(dim=1)


def distance_of(total: Tensor, num_queries: int) -> Tensor:
    """The mean distance over all pairs of distinct queries, from their :func:`unit_sum`: (B,); 0 for one query."""
    if num_queries == 1:
        return torch.zeros_like(total[:, 0, 0, 0])
    squared = total.square().sum(dim=(1, 2, 3))  # sum of all cosines, of every query with itself too
    cosine = (squared - num_queries) / (num_queries * (num_queries - 1))
    return ((1 - cosine) / 2).clamp(min=0)


def query_distance(weights: Tensor) -> Tensor:
    """How much the attention of queries differs: the mean of ``(1 - cos) / 2`` over all pairs of queries' maps.

    0 for identical maps, as for global context blocks; 0.5 if no two share a key; 1 for opposite signs.
    Source: GCNet (Cao et al. 2019, arXiv:1904.11492), which found the maps of non-local blocks nearly identical.

    Args:
        weights: (B, Q, T', H', W'), of any sign; no row all zero.

    Returns:
        (B,).
    """
    return distance_of(unit_sum(weights), weights.shape[1])


def contribution(x: Tensor, output: Tensor) -> float:
    """How much a block changes its features: ``|block(x) - x| / |x|``, over all of them; inf if only x is zero."""
    change, size = (float(part.float().norm()) for part in (output - x, x))
    if change == 0:
        return 0.0
    return change / size if size else math.inf
