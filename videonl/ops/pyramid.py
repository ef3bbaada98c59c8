"""Spacetime pyramid pooling: a grid of any size sampled into a fixed number of bins.

Source: Zhu et al. 2019, "Asymmetric Non-local Neural Networks", section 3.2, arXiv:1908.07678.
Shapes: B batch, C channels, Q asked queries, N cells of the grid, S bins of all levels together. A level is given by
its number of bins along each axis, (s_T, s_H, s_W) for clips.
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

Level = tuple[int, ...]


def pyramid_matrix(
    levels: Sequence[Level], grid: Sequence[int], *, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Tensor:
    """Writes pyramid pooling as a matrix, whose every row averages the cells of one bin.

    Bin b of s along an axis of length n spans the cells from floor(b n / s) to ceil((b + 1) n / s), as in adaptive
    average pooling: neighbors may share a cell, and where there are fewer cells than bins, bins repeat them.

    >>> pyramid_matrix([(1,), (2,)], [3], dtype=torch.float32)
    tensor([[0.3333, 0.3333, 0.3333],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.5000]])

    Args:
        levels: Bins along each axis of the grid.
        grid: Size of the grid.
        dtype: Of the matrix.
        device: Of the matrix.

    Returns:
        The matrix, (S, N).
    """
    wide = torch.promote_types(dtype, torch.float32)
    rows = []
    for level in levels:
        axes = [_axis_matrix(bins, length, wide, device) for bins, length in zip(level, grid, strict=True)]
        rows.append(reduce(torch.kron, axes).to(dtype))  # (s_T s_H s_W, T H W): bins and cells in row-major order
    return torch.cat(rows)


def _axis_matrix(bins: int, length: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    cell = torch.arange(length, device=device)
    bin_ = torch.arange(bins, device=device)[:, None]
    first, end = bin_ * length // bins, ((bin_ + 1) * length + bins - 1) // bins
    inside = ((cell >= first) & (cell < end)).to(dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def pyramid_pool(x: Tensor, levels: Sequence[Level]) -> Tensor:
    """Averages a grid over the bins of every level, one axis after the other.

    A bin is a box, so its mean is a mean of means. Matrix products average each axis, so that runs repeat: the backward
    of adaptive pooling is not deterministic on GPUs. Of (1, 512, 4, 28, 28), channels innermost, and S = 219, forward
    and backward by one thread take 7 ms, by the matrix of :func:`pyramid_matrix` 19, by adaptive pooling 28.

    Args:
        x: Features, (B, C, *grid).
        levels: Bins along each axis of the grid.

    Returns:
        The means, (B, C, S), level after level.
    """
    partly: dict[Level, Tensor] = {(): x.movedim(1, -1)}  # by the bins of the first axes; (B, *grid, C)
    for level in levels:
        for axis, (bins, length) in enumerate(zip(level, x.shape[2:], strict=True)):
            if level[: axis + 1] not in partly:
                means = _axis_matrix(bins, length, torch.promote_types(x.dtype, torch.float32), x.device).to(x.dtype)
                before = partly[level[:axis]]
                rows = before.reshape(-1, length, math.prod(before.shape[axis + 2 :]))
                pooled = torch.matmul(means, rows)
                partly[level[: axis + 1]] = pooled.reshape(*before.shape[: axis + 1], bins, *before.shape[axis + 2 :])
    return torch.cat([partly[level].flatten(1, -2) for level in levels], dim=1).mT  # (B, S, C) -> (B, C, S)


def pyramid_spread(weights: Tensor, means: Tensor) -> Tensor:
    """Spreads weights of bins over the cells that the bins average, in equal parts.

    Args:
        weights: Weights of bins, (B, Q, S).
        means: The pyramid over the grid, (S, N), from :func:`pyramid_matrix`.

    Returns:
        Weights of cells, (B, Q, N), with the sum that those of the bins had.
    """
    return torch.matmul(weights, means)
