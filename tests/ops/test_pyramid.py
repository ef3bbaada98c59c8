"""Pyramid pooling against loops over cells and against torch's adaptive pooling."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from videonl.ops import pyramid_matrix, pyramid_pool, pyramid_spread

BATCH, CHANNELS = 2, 3
LEVELS = [(1, 1, 1), (2, 3, 5), (2, 4, 3)]
# The last three have fewer cells than bins on some axis.
GRIDS = [(4, 7, 11), (2, 5, 7), (3, 4, 5), (1, 3, 5), (1, 1, 1), (5, 2, 3)]


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def spread(weights: Tensor, grid: tuple[int, ...]) -> Tensor:
    return pyramid_spread(weights, pyramid_matrix(LEVELS, grid, dtype=weights.dtype)).unflatten(2, grid)


def cells_of_bins(level: tuple[int, ...], grid: tuple[int, ...]) -> list[list[int]]:
    """For each bin the flat indices of its cells."""
    bins = []
    for place in product(*map(range, level)):
        spans = [
            range(math.floor(b * n / s), math.ceil((b + 1) * n / s)) for b, s, n in zip(place, level, grid, strict=True)
        ]
        bins.append([(t * grid[1] + y) * grid[2] + x for t, y, x in product(*spans)])
    return bins


@pytest.mark.parametrize("grid", GRIDS)
def test_bins_are_means_of_their_cells(grid: tuple[int, int, int]) -> None:
    x = draw(BATCH, CHANNELS, *grid)
    bins = [cells for level in LEVELS for cells in cells_of_bins(level, grid)]
    expected = torch.stack([x.flatten(2)[:, :, cells].mean(dim=2) for cells in bins], dim=2)
    assert expected.shape == (BATCH, CHANNELS, 1 + 30 + 24)
    torch.testing.assert_close(pyramid_pool(x, LEVELS), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_pooling_is_adaptive_average_pooling(grid: tuple[int, int, int]) -> None:
    x = draw(BATCH, CHANNELS, *grid)
    expected = torch.cat([F.adaptive_avg_pool3d(x, level).flatten(2) for level in LEVELS], dim=2)
    torch.testing.assert_close(pyramid_pool(x, LEVELS), expected, rtol=1e-12, atol=1e-12)


def test_images_are_pooled_like_clips_of_one_frame() -> None:
    x = draw(BATCH, CHANNELS, 5, 7)
    image = pyramid_pool(x, [(1, 1), (3, 2)])
    assert torch.equal(image, pyramid_pool(x.unsqueeze(2), [(1, 1, 1), (1, 3, 2)]))


@pytest.mark.parametrize("grid", GRIDS)
def test_weights_are_spread_in_equal_parts(grid: tuple[int, int, int]) -> None:
    weights = draw(BATCH, 7, 55).softmax(dim=2)
    expected = torch.zeros(BATCH, 7, math.prod(grid), dtype=torch.float64)
    bins = [cells for level in LEVELS for cells in cells_of_bins(level, grid)]
    for number, cells in enumerate(bins):
        for cell in cells:
            expected[:, :, cell] += weights[:, :, number] / len(cells)
    torch.testing.assert_close(spread(weights, grid).flatten(2), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spread(weights, grid).sum(dim=(2, 3, 4)), torch.ones(BATCH, 7, dtype=torch.float64))


def test_reading_spread_weights_is_reading_the_bins() -> None:
    x, weights = draw(BATCH, CHANNELS, 4, 7, 11), draw(BATCH, 7, 55)
    from_cells = torch.einsum("bqthw,bcthw->bqc", spread(weights, (4, 7, 11)), x)
    from_bins = torch.einsum("bqs,bcs->bqc", weights, pyramid_pool(x, LEVELS))
    torch.testing.assert_close(from_cells, from_bins, rtol=1e-12, atol=1e-12)


def test_a_grid_of_other_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        pyramid_matrix([(1, 1)], (2, 3, 5), dtype=torch.float32)


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)], ids=str
)
def test_lower_precisions_stay_close_to_float64(dtype: torch.dtype, bound: float) -> None:
    expected = pyramid_pool(draw(BATCH, CHANNELS, 4, 7, 11), LEVELS)
    actual = pyramid_pool(draw(BATCH, CHANNELS, 4, 7, 11, dtype=dtype), LEVELS)
    assert actual.dtype == dtype
    assert (actual.double() - expected).abs().max() / expected.abs().max() < bound


def test_gradients_are_those_of_finite_differences() -> None:
    x, weights = draw(1, 2, 2, 3, 2).requires_grad_(), draw(1, 2, 55).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pyramid_pool(x, LEVELS), (x,))
    assert torch.autograd.gradcheck(lambda weights: spread(weights, (2, 3, 2)), (weights,))
