"""Softmax and dot product aggregation and their weights against the formulas, written out with an N x M matrix."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from videonl.ops import (
    dot_product,
    dot_product_weights,
    embedded_gaussian,
    embedded_gaussian_weights,
    fused_softmax,
)

BATCH, NUM_QUERIES, NUM_KEYS, DIM_INNER, DIM_VALUE = 2, 13, 5, 7, 11


@pytest.fixture(autouse=True, params=[0, fused_softmax.WRITTEN_OUT_NUMEL], ids=["fused", "written out"])
def largest_matrix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small matrices of weights take another way than large ones; everything here holds for both."""
    monkeypatch.setattr(fused_softmax, "WRITTEN_OUT_NUMEL", request.param)
    numel: int = request.param
    return numel


def draw(dtype: torch.dtype = torch.float64, dim_value: int = DIM_VALUE) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = ((NUM_QUERIES, DIM_INNER), (NUM_KEYS, DIM_INNER), (NUM_KEYS, dim_value))
    theta, phi, g = (torch.randn(BATCH, *shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return theta.to(dtype), phi.to(dtype), g.to(dtype)


def naive_weights(theta: Tensor, phi: Tensor, scale: float) -> Tensor:
    affinity = torch.einsum("bnc,bmc->bnm", theta, phi)
    f = torch.exp(scale * affinity)
    return f / f.sum(dim=2, keepdim=True)


def naive_dot_product(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    return torch.einsum("bnc,bmc,bmd->bnd", theta, phi, g) / phi.shape[1]


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("dim_value", [DIM_VALUE, DIM_INNER])
@pytest.mark.parametrize("scale", [1.0, DIM_INNER**-0.5, 0.3])
def test_aggregation_is_the_softmax_formula(scale: float, dim_value: int) -> None:
    theta, phi, g = draw(dim_value=dim_value)
    expected = torch.einsum("bnm,bmc->bnc", naive_weights(theta, phi, scale), g)
    actual = embedded_gaussian(theta, phi, g, scale=scale)
    assert actual.shape == (BATCH, NUM_QUERIES, dim_value)
    assert relative_difference(actual, expected) < 1e-10


@pytest.mark.parametrize("scale", [1.0, DIM_INNER**-0.5, 0.3])
def test_weights_are_the_softmax_formula(scale: float) -> None:
    theta, phi, _ = draw()
    weights = embedded_gaussian_weights(theta, phi, scale=scale)
    assert weights.shape == (BATCH, NUM_QUERIES, NUM_KEYS)
    assert relative_difference(weights, naive_weights(theta, phi, scale)) < 1e-10


def test_scale_is_off_unless_asked_for() -> None:
    theta, phi, g = draw()
    assert torch.equal(embedded_gaussian(theta, phi, g), embedded_gaussian(theta, phi, g, scale=1.0))
    assert torch.equal(embedded_gaussian_weights(theta, phi), embedded_gaussian_weights(theta, phi, scale=1.0))


def test_rows_of_weights_sum_to_one() -> None:
    theta, phi, _ = draw()
    torch.testing.assert_close(
        embedded_gaussian_weights(theta, phi).sum(dim=2),
        torch.ones(BATCH, NUM_QUERIES, dtype=torch.float64),
        rtol=0,
        atol=1e-12,
    )


def test_one_hot_values_read_the_weights_back() -> None:
    theta, phi, _ = draw()
    one_hot = torch.eye(NUM_KEYS, dtype=torch.float64).expand(BATCH, -1, -1)
    torch.testing.assert_close(
        embedded_gaussian(theta, phi, one_hot, scale=0.3), embedded_gaussian_weights(theta, phi, scale=0.3)
    )


def test_gradients_are_those_of_finite_differences() -> None:
    inputs = [tensor.requires_grad_() for tensor in draw()]
    assert torch.autograd.gradcheck(lambda *tensors: embedded_gaussian(*tensors, scale=0.3), inputs)
    assert torch.autograd.gradcheck(embedded_gaussian_weights, inputs[:2])


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [
        (torch.float32, 1e-5),
        # Measured on a CPU: 0.0038 for the aggregation, 0.0043 for the weights.
        (torch.bfloat16, 1e-2),
    ],
    ids=str,
)
def test_lower_precisions_stay_close_to_float64(dtype: torch.dtype, bound: float) -> None:
    expected_y = embedded_gaussian(*draw())
    expected_weights = embedded_gaussian_weights(*draw()[:2])
    y, weights = embedded_gaussian(*draw(dtype)), embedded_gaussian_weights(*draw(dtype)[:2])
    assert y.dtype == weights.dtype == dtype
    assert relative_difference(y, expected_y) < bound
    assert relative_difference(weights, expected_weights) < bound


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_logits_in_the_thousands_stay_finite(dtype: torch.dtype) -> None:
    theta, phi, g = draw(dtype)
    theta, phi = 60 * theta, 60 * phi
    logits = theta.double() @ phi.double().transpose(1, 2)
    assert logits.abs().max() > 5000
    weights, y = embedded_gaussian_weights(theta, phi), embedded_gaussian(theta, phi, g)
    # The softmax is saturated: every query reads its best key alone.
    best = logits.argmax(dim=2)
    assert torch.equal(weights.argmax(dim=2), best)
    picked = g.gather(1, best[..., None].expand(-1, -1, DIM_VALUE))
    torch.testing.assert_close(y, picked, rtol=1e-2, atol=1e-2)
    assert weights.isfinite().all()


def test_equal_logits_average_the_values() -> None:
    theta, phi, g = draw()
    y = embedded_gaussian(torch.zeros_like(theta), phi, g)
    torch.testing.assert_close(y, g.mean(dim=1, keepdim=True).expand_as(y))


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation puts out."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(leaf.numel() for leaf in tree_leaves(output) if isinstance(leaf, Tensor))])
        return output


@pytest.mark.parametrize("dim_value", [11, 7, 3])
@pytest.mark.parametrize("aggregate", [embedded_gaussian, dot_product])
@pytest.mark.parametrize("layout", ["positions innermost", "channels innermost"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_only_a_small_matrix_of_queries_by_keys_is_built(
    dtype: torch.dtype, layout: str, aggregate, dim_value: int, largest_matrix: int
) -> None:
    num_queries, num_keys = 983, 241
    sizes = ((num_queries, DIM_INNER), (num_keys, DIM_INNER), (num_keys, dim_value))
    if layout == "channels innermost":
        theta, phi, g = (torch.ones(1, num, width, dtype=dtype) for num, width in sizes)
    else:  # as a projection of contiguous features gives them
        theta, phi, g = (torch.ones(1, width, num, dtype=dtype).transpose(1, 2) for num, width in sizes)
    with LargestTensor() as largest:
        aggregate(*(part.requires_grad_() for part in (theta, phi, g))).sum().backward()
    matrix = largest_matrix and aggregate is embedded_gaussian and dtype in (torch.float32, torch.float64)
    assert 0 < largest.numel <= max(num_keys if matrix else 0, DIM_INNER, dim_value) * num_queries


@pytest.mark.parametrize(("numel", "built"), [(NUM_QUERIES * NUM_KEYS, True), (NUM_QUERIES * NUM_KEYS - 1, False)])
@pytest.mark.parametrize("batch", [2, 17])
def test_the_size_of_a_clip_decides_and_not_the_batch(numel: int, built: bool, batch: int, monkeypatch) -> None:
    monkeypatch.setattr(fused_softmax, "WRITTEN_OUT_NUMEL", numel)
    shapes = ((NUM_QUERIES, 2), (NUM_KEYS, 2), (NUM_KEYS, 2))  # features smaller than the matrix
    with LargestTensor() as largest:
        embedded_gaussian(*(torch.ones(batch, *shape) for shape in shapes))
    assert (largest.numel == batch * NUM_QUERIES * NUM_KEYS) is built


@pytest.mark.parametrize("numel", [0, 2**22])
def test_a_compiled_graph_takes_the_same_way(numel: int, monkeypatch) -> None:
    monkeypatch.setattr(fused_softmax, "WRITTEN_OUT_NUMEL", numel)

    class Attention(torch.nn.Module):
        def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
            return embedded_gaussian(theta, phi, g)

    graph = torch.export.export(Attention(), draw(torch.float32)).graph
    assert any("scaled_dot_product_attention" in str(node.target) for node in graph.nodes) is (numel == 0)


@pytest.mark.parametrize("dim_value", [11, 7, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_gradients_over_several_tiles_are_those_of_the_formula(dtype: torch.dtype, dim_value: int) -> None:
    generator = torch.Generator().manual_seed(3)
    sizes = ((307, DIM_INNER), (101, DIM_INNER), (101, dim_value), (307, dim_value))  # tiles of 21 rows, the last of 13
    *inputs, upstream = (torch.randn(BATCH, *size, generator=generator, dtype=torch.float64) for size in sizes)
    ours_in = [part.to(dtype).requires_grad_() for part in inputs]
    ours = torch.autograd.grad(embedded_gaussian(*ours_in, scale=0.3), ours_in, upstream.to(dtype))
    theta, phi, g = (part.requires_grad_() for part in inputs)
    y = torch.einsum("bnm,bmc->bnc", naive_weights(theta, phi, 0.3), g)
    for one, other in zip(ours, torch.autograd.grad(y, (theta, phi, g), upstream), strict=True):
        assert relative_difference(one, other) < (1e-10 if dtype == torch.float64 else 1e-5)


# Few channels for many positions, and the reverse: the two associations.
@pytest.mark.parametrize(("num_queries", "num_keys"), [(13, 5), (101, 53), (2, 3), (1, 1), (1, 53), (101, 1)])
def test_dot_product_is_the_formula_divided_by_the_number_of_keys(num_queries: int, num_keys: int) -> None:
    generator = torch.Generator().manual_seed(3)
    sizes = ((num_queries, DIM_INNER), (num_keys, DIM_INNER), (num_keys, DIM_VALUE))
    theta, phi, g = (torch.randn(BATCH, *size, generator=generator, dtype=torch.float64) for size in sizes)
    y = dot_product(theta, phi, g)
    assert y.shape == (BATCH, num_queries, DIM_VALUE)
    assert relative_difference(y, naive_dot_product(theta, phi, g)) < 1e-10
    weights = dot_product_weights(theta, phi)
    assert relative_difference(weights, torch.einsum("bnc,bmc->bnm", theta, phi) / num_keys) < 1e-10


def test_dot_product_gradients_are_those_of_finite_differences() -> None:
    inputs = [part.requires_grad_() for part in draw()]
    few, many = [part[:, :2] for part in inputs], [part.repeat(1, 5, 1) for part in inputs]
    assert torch.autograd.gradcheck(dot_product, few)
    assert torch.autograd.gradcheck(dot_product, many, fast_mode=True)
    assert torch.autograd.gradcheck(dot_product_weights, inputs[:2])


@pytest.mark.parametrize(
    ("dtype", "bound"),
    # Measured on a CPU: 8e-8, 0.0035 and 0.0009.
    [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)],
    ids=str,
)
def test_dot_product_in_lower_precisions_stays_close_to_float64(dtype: torch.dtype, bound: float) -> None:
    expected = naive_dot_product(*draw())
    y, weights = dot_product(*draw(dtype)), dot_product_weights(*draw(dtype)[:2])
    assert y.dtype == weights.dtype == dtype
    assert relative_difference(y, expected) < bound


def test_dot_product_over_many_keys_does_not_overflow_float16() -> None:
    ones = torch.ones(1, 4099, 5, dtype=torch.float16)
    assert torch.equal(dot_product(8 * ones, 8 * ones, ones), torch.full_like(ones, 5 * 64))  # the sum is 262,336


def test_weights_in_float16_do_not_overflow() -> None:
    theta, phi, _ = draw(torch.float16)
    weights = embedded_gaussian_weights(200 * theta, 200 * phi)  # logits beyond 65,504
    assert weights.isfinite().all()


@pytest.mark.parametrize("reads", [[0], [1, 3]])
def test_keys_out_of_reach_have_no_weight_and_are_not_counted(reads: list[int]) -> None:
    theta, phi, _ = draw()
    reachable = torch.zeros(NUM_QUERIES, NUM_KEYS, dtype=torch.bool)
    reachable[:, reads] = True
    out_of_reach = [key for key in range(NUM_KEYS) if key not in reads]
    for weigh in (embedded_gaussian_weights, dot_product_weights):
        weights = weigh(theta, phi, reachable=reachable)
        torch.testing.assert_close(weights[..., reads], weigh(theta, phi[:, reads]))
        assert not weights[..., out_of_reach].any()
