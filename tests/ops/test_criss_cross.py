"""Attention along lines against the formula, written with a list of positions for every position."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from videonl.ops import criss_cross, criss_cross_hop, criss_cross_weights

BATCH, DIM_INNER, DIM_VALUE = 2, 3, 5
CASES = [
    ((2, 3, 5), (2, 3, 4)),
    ((2, 3, 5), (4, 2)),
    ((2, 3, 5), (3,)),
    ((1, 3, 5), (2, 3, 4)),
    ((1, 1, 1), (2, 3, 4)),
    ((3, 5), (2, 3)),
    ((5,), (2,)),
]


def draw(grid: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    channels = (DIM_INNER, DIM_INNER, DIM_VALUE)
    return [torch.randn(BATCH, c, *grid, generator=generator, dtype=torch.float64).to(dtype) for c in channels]


def naive_matrix(theta: Tensor, phi: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The N x N weights (B, N, N): zero wherever key and query do not share a line."""
    positions = list(product(*map(range, theta.shape[2:])))
    matrix = torch.zeros(theta.shape[0], len(positions), len(positions), dtype=theta.dtype)
    for b, (i, query) in product(range(len(matrix)), enumerate(positions)):
        on_lines = [
            j
            for j, key in enumerate(positions)
            if any(all(q == k for d, (q, k) in enumerate(zip(query, key, strict=True)) if d != a - 2) for a in axes)
        ]
        f = [math.exp(float(theta[b].flatten(1)[:, i] @ phi[b].flatten(1)[:, j])) for j in on_lines]
        for j, value in zip(on_lines, f, strict=True):
            matrix[b, i, j] = value / sum(f)
    return matrix


@pytest.mark.parametrize(("grid", "axes"), CASES)
def test_aggregation_is_the_formula(grid, axes) -> None:
    theta, phi, g = draw(grid)
    expected = torch.einsum("bnm,bcm->bcn", naive_matrix(theta, phi, axes), g.flatten(2)).reshape(g.shape)
    torch.testing.assert_close(criss_cross(theta, phi, g, axes), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("grid", "axes"), CASES)
def test_a_hop_multiplies_by_the_matrix(grid, axes) -> None:
    theta, phi, _ = draw(grid)
    matrix = naive_matrix(theta, phi, axes)
    rows = torch.rand(BATCH, 7, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    hopped = criss_cross_hop(rows, criss_cross_weights(theta, phi, axes), axes)
    torch.testing.assert_close(hopped.flatten(2), rows.flatten(2) @ matrix, rtol=1e-10, atol=1e-12)


def test_a_position_is_its_own_key_once() -> None:
    grid, axes = (2, 3, 5), (2, 3, 4)
    theta, phi, _ = draw(grid)
    weights = criss_cross_weights(torch.zeros_like(theta), phi, axes)
    # Equal affinities: each of the T + H + W - 2 positions gets the same, and the two copies of itself nothing.
    assert weights.shape == (BATCH, *grid, 10)
    assert set(weights.unique().tolist()) == {0, 1 / 8}
    assert ((weights == 0).sum(dim=-1) == 2).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_logits_in_the_thousands_stay_finite(dtype: torch.dtype) -> None:
    theta, phi, g = draw((2, 3, 5), dtype)
    theta, phi = 40 * theta, 40 * phi
    assert (theta.double() * phi.double()).sum(dim=1).abs().max() > 2000
    weights = criss_cross_weights(theta, phi, (2, 3, 4))
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.float().sum(dim=-1), torch.ones(BATCH, 2, 3, 5), rtol=0, atol=1e-2)
    assert criss_cross(theta, phi, g, (2, 3, 4)).isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "bound"),
    # Measured on a CPU: 0.011 in bfloat16.
    [(torch.float32, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)],
    ids=str,
)
def test_lower_precisions_stay_close_to_float64(dtype: torch.dtype, bound: float) -> None:
    expected = criss_cross(*draw((2, 3, 5)), (2, 3, 4))
    actual = criss_cross(*draw((2, 3, 5), dtype), (2, 3, 4))
    assert actual.dtype == dtype
    assert (actual.double() - expected).abs().max() / expected.abs().max() < bound


def test_gradients_are_those_of_finite_differences() -> None:
    inputs = [tensor.requires_grad_() for tensor in draw((2, 3, 2))]
    assert torch.autograd.gradcheck(lambda *tensors: criss_cross(*tensors, (2, 3, 4)), inputs)
    assert torch.autograd.gradcheck(lambda *tensors: criss_cross_weights(*tensors, (2, 3, 4)), inputs[:2])
