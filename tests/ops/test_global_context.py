"""Attention pooling and fusion against their formulas, position by position."""

import math

import pytest
import torch
from torch import Tensor

from videonl.ops import attention_pooling, attention_pooling_weights, fuse

BATCH, CHANNELS, GRID = 2, 5, (3, 5, 7)


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("grid", [(7,), (5, 7), (3, 5, 7)])
def test_pooling_is_the_weighted_mean_of_positions(grid: tuple[int, ...]) -> None:
    x, affinity = draw(BATCH, CHANNELS, *grid), draw(BATCH, *grid)
    expected = torch.zeros(BATCH, CHANNELS, dtype=torch.float64)
    for b in range(BATCH):
        total = sum(math.exp(a) for a in affinity[b].flatten().tolist())
        for position, a in enumerate(affinity[b].flatten().tolist()):
            expected[b] += math.exp(a) / total * x[b].flatten(1)[:, position]
    torch.testing.assert_close(attention_pooling(x, affinity), expected, rtol=1e-10, atol=1e-12)


def test_equal_logits_average() -> None:
    x = draw(BATCH, CHANNELS, *GRID)
    torch.testing.assert_close(attention_pooling(x, torch.zeros(BATCH, *GRID).double()), x.mean(dim=(2, 3, 4)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_logits_in_the_thousands_stay_finite(dtype: torch.dtype) -> None:
    affinity = (3000 * draw(BATCH, *GRID)).to(dtype)
    weights = attention_pooling_weights(affinity)
    assert weights.shape == affinity.shape
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.float().sum(dim=(1, 2, 3)), torch.ones(BATCH))
    assert attention_pooling(draw(BATCH, CHANNELS, *GRID, dtype=dtype), affinity).isfinite().all()


@pytest.mark.parametrize(
    ("fusion", "formula"),
    [
        ("add", lambda x, t: x + t),
        ("multiply", lambda x, t: x / (1 + math.exp(-t))),
        ("multiply_from_one", lambda x, t: 2 * x / (1 + math.exp(-t))),
    ],
)
def test_every_position_is_changed_alike(fusion: str, formula) -> None:
    x, change = draw(BATCH, CHANNELS, *GRID), draw(BATCH, CHANNELS)
    fused = fuse(x, change, fusion)
    for b in range(BATCH):
        for channel in range(CHANNELS):
            expected = formula(x[b, channel], change[b, channel].item())
            torch.testing.assert_close(fused[b, channel], expected, rtol=1e-12, atol=1e-12)


def test_unknown_fusions_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="add, multiply, multiply_from_one; got 'ad'"):
        fuse(draw(1, 2, 3), draw(1, 2), "ad")


def test_gradients_are_those_of_finite_differences() -> None:
    x, affinity = draw(BATCH, CHANNELS, 2, 3).requires_grad_(), draw(BATCH, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(attention_pooling, (x, affinity))
