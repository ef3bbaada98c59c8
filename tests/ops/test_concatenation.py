"""Rectified weights by sorting against the formula, written out with an N x M matrix."""

import pytest
import torch
from torch import Tensor

from videonl.ops import concatenation, concatenation_weights

BATCH, NUM_QUERIES, NUM_KEYS, DIM_VALUE = 2, 13, 5, 11
DTYPE = torch.float64


def draw(num_queries: int = NUM_QUERIES, num_keys: int = NUM_KEYS, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((num_queries,), (num_keys,), (num_keys, DIM_VALUE))
    a, b, g = (torch.randn(BATCH, *shape, generator=generator, dtype=DTYPE) for shape in shapes)
    return a, b, g


def naive_weights(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] + b[:, None, :]).clamp(min=0) / b.shape[1]


def naive(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    return torch.einsum("bnm,bmc->bnc", naive_weights(a, b), g)


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("num_queries", "num_keys"), [(13, 5), (5, 13), (1, 7), (7, 1), (1, 1), (301, 97)])
def test_aggregation_is_the_formula(num_queries: int, num_keys: int) -> None:
    a, b, g = draw(num_queries, num_keys)
    y = concatenation(a + 0.5, b, g)
    assert y.shape == (BATCH, num_queries, DIM_VALUE)
    assert relative_difference(y, naive(a + 0.5, b, g)) < 1e-10


def test_two_keys_by_hand() -> None:
    a, b = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]])
    g = torch.tensor([[[10.0], [100.0]]])
    # The first query reads both keys, with 1.5 and 4; the second reads the second key, with 1. Two keys: halves.
    assert concatenation(a, b, g).tolist() == [[[207.5], [50.0]]]
    assert concatenation_weights(a, b).tolist() == [[[0.75, 2.0], [0.0, 0.5]]]


def test_weights_are_the_formula_and_one_hot_values_read_them_back() -> None:
    a, b, _ = draw()
    weights = concatenation_weights(a, b)
    assert relative_difference(weights, naive_weights(a, b)) < 1e-10
    one_hot = torch.eye(NUM_KEYS, dtype=DTYPE).expand(BATCH, -1, -1)
    torch.testing.assert_close(concatenation(a, b, one_hot), weights)


def test_keys_that_tie_are_read_alike() -> None:
    a, b, g = draw()
    b = b.round()  # some of five keys tie, and some queries stand exactly at the kink
    a = a.round()
    assert ((a[:, :, None] + b[:, None]) == 0).any()
    assert relative_difference(concatenation(a, b, g), naive(a, b, g)) < 1e-10
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(concatenation(a, b[:, order], g[:, order]), concatenation(a, b, g))


def test_a_query_that_reads_nothing_gets_exactly_zero_and_no_gradient() -> None:
    a, b, g = (part.requires_grad_() for part in draw())
    shift = torch.zeros(NUM_QUERIES, dtype=DTYPE)
    shift[4] = -100
    y = concatenation(a + shift, b, g)
    assert not y[:, 4].any()
    y.sum().backward()
    assert a.grad is not None
    assert not a.grad[:, 4].any()
    assert a.grad.any()
    assert not concatenation(a - 100, b, g).any()


def test_gradients_are_those_of_finite_differences_and_of_the_formula() -> None:
    inputs = [part.requires_grad_() for part in draw()]
    assert torch.autograd.gradcheck(concatenation, inputs)
    assert torch.autograd.gradgradcheck(concatenation, inputs)
    assert torch.autograd.gradcheck(concatenation_weights, inputs[:2])
    upstream = draw(NUM_KEYS, NUM_QUERIES, seed=4)[2]
    ours = torch.autograd.grad(concatenation(*inputs), inputs, upstream)
    theirs = torch.autograd.grad(naive(*inputs), inputs, upstream)
    assert all(relative_difference(one, other) < 1e-10 for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("dtype", "bound"),
    # Measured on a CPU: 1.2e-7, 0.0051 and 0.0006: half precision is that of a, b and g, not of the sums.
    [(torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)],
    ids=str,
)
def test_lower_precisions_stay_close_to_float64(dtype: torch.dtype, bound: float) -> None:
    a, b, g = draw(3137, 6271)
    y = concatenation(a.to(dtype), b.to(dtype), g.to(dtype))
    assert y.dtype == dtype
    assert relative_difference(y, naive(a, b, g)) < bound


def test_large_numbers_of_opposite_sign_do_not_cancel() -> None:
    a, b, g = draw(313, 97)
    a, b, g = (a - 1000).float(), (b + 1000).float(), g.float()
    # To float64 these are the numbers that float32 was given, so that only the sums can lose digits.
    assert relative_difference(concatenation(a, b, g), naive(a.double(), b.double(), g.double())) < 1e-5


@pytest.mark.parametrize("reads", [[0], [1, 3]])
def test_keys_out_of_reach_have_no_weight_and_are_not_counted(reads: list[int]) -> None:
    a, b, _ = draw()
    reachable = torch.zeros(NUM_QUERIES, NUM_KEYS, dtype=torch.bool)
    reachable[:, reads] = True
    weights = concatenation_weights(a, b, reachable=reachable)
    torch.testing.assert_close(weights[..., reads], naive_weights(a, b[:, reads]))
    assert not weights[..., [key for key in range(NUM_KEYS) if key not in reads]].any()
