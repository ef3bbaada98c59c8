"""Maps between a feature grid and the clip: pixels to cells, cells to pixels, weights to pixels.

A convolutional network with strides turns ``size`` pixels into ``grid`` cells. Every function here uses the same rule,
per axis and in integers: pixel ``p`` belongs to cell ``p * grid // size``. Time is an axis like the others, with frames
for pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Position = tuple[int, int, int]


def cell_of(pixel: Sequence[int], grid: Sequence[int], size: Sequence[int]) -> Position:
    """The grid cell that holds a pixel.

    Args:
        pixel: (frame, y_px, x_px), inside ``size``.
        grid: (T, H, W) of the features, in cells.
        size: (T, H, W) of the clip, in frames and pixels.

    >>> cell_of((5, 63, 0), grid=(4, 8, 8), size=(8, 64, 64))
    (2, 7, 0)
    """
    frame, y, x = (p * g // s for p, g, s in zip(pixel, grid, size, strict=True))
    return frame, y, x


def pixels_of(cell: int, grid: int, size: int) -> range:
    """The pixels of one cell along one axis; never empty, so that a cell finer than a pixel can still be pointed at.

    >>> pixels_of(2, grid=7, size=112)
    range(32, 48)
    """
    first = min(_ceil_div(cell * size, grid), size - 1)
    return range(first, max(_ceil_div((cell + 1) * size, grid), first + 1))


def center_of(cell: Sequence[int], grid: Sequence[int], size: Sequence[int]) -> Position:
    """The center pixel of a cell: (frame, y_px, x_px).

    ``cell_of`` leads back from it to the cell, unless cells are finer than pixels.

    >>> center_of((2, 7, 0), grid=(4, 8, 8), size=(8, 64, 64))
    (5, 60, 4)
    """
    frame, y, x = (_middle(pixels_of(*axis)) for axis in zip(cell, grid, size, strict=True))
    return frame, y, x


def spread(weights: Tensor, grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """Gives every pixel the weight of the key whose cell covers it (nearest, no smoothing).

    Interpolation would look softer but be less precise: it lights pixels outside the cell of a weight and hides how
    coarse the grid is. Blocks may halve their key grid; an odd last row or column then belongs to no key and gets
    weight 0.

    Args:
        weights: (T', H', W') over the key grid.
        grid: (T, H, W) of the block's input, in cells.
        size: (T, H, W) of the frames, in frames and pixels.

    Returns:
        (T, H, W) of ``size``.
    """
    for axis, (cells, pixels) in enumerate(zip(grid, size, strict=True)):
        keys = keys_of_pixels(weights.shape[axis], cells, pixels)
        covered = (keys >= 0).view([-1 if dim == axis else 1 for dim in range(3)])
        weights = weights.index_select(axis, keys.clamp(min=0)) * covered
    return weights


def keys_of_pixels(num_keys: int, num_cells: int, num_pixels: int) -> Tensor:
    """The key of every pixel along one axis, -1 for none: (num_pixels,) int64.

    >>> keys_of_pixels(num_keys=2, num_cells=5, num_pixels=10)
    tensor([ 0,  0,  0,  0,  1,  1,  1,  1, -1, -1])
    """
    if num_keys > num_cells:  # the keys are those of an earlier, finer stage
        return torch.arange(num_pixels) * num_keys // num_pixels
    cells = torch.arange(num_pixels) * num_cells // num_pixels
    if num_keys == num_cells // 2:
        # 2x pooling floors: 7 cells become 3 keys of exactly 2 cells, not of 7/3, and the last cell belongs to none.
        return (cells // 2).masked_fill(cells // 2 >= num_keys, -1)
    return cells * num_keys // num_cells


def key_centers(num_keys: int, num_cells: int, num_pixels: int) -> Tensor:
    """The center of every key along one axis, in pixels from the edge: (num_keys,) float64.

    >>> key_centers(num_keys=2, num_cells=5, num_pixels=10)  # two cells each, of two pixels
    tensor([2., 6.], dtype=torch.float64)
    """
    if num_keys >= num_cells:
        return (torch.arange(num_keys, dtype=torch.float64) + 0.5) * num_pixels / num_keys
    keys_of_cells = keys_of_pixels(num_keys, num_cells, num_cells)
    centers = key_centers(num_cells, num_cells, num_pixels)
    return torch.stack([centers[keys_of_cells == key].mean() for key in range(num_keys)])


def keys_at(cells: Tensor, num_keys: int, num_cells: int) -> Tensor:
    """Which keys along one axis lie in the cells, or contain them: (Q,) -> (Q, num_keys) bool.

    >>> keys_at(torch.tensor([1, 4]), num_keys=2, num_cells=5)  # the last cell belongs to no key
    tensor([[ True, False],
            [False, False]])
    """
    keys = torch.arange(num_keys)
    if num_keys > num_cells:  # the keys are those of an earlier, finer stage
        return cells[:, None] == keys * num_cells // num_keys
    return keys_of_pixels(num_keys, num_cells, num_cells)[cells][:, None] == keys


def _middle(pixels: range) -> int:
    return pixels[len(pixels) // 2]


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
