"""What every block promises, for every block and its options."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from videonl.blocks import BLOCKS, AttentionBlock
from videonl.ops import fused_softmax

Awaken = Callable[[nn.Module], nn.Module]
CHANNELS, SIZE = 11, (3, 5, 7)
# Few bins, to be told from a matrix of queries by keys; no dropout, because every call draws it anew.
PYRAMIDS: list[dict[str, Any]] = [
    {"sizes": [(1, 1, 1), (2, 3, 2)]},
    {"sizes": [(1, 2, 2)], "dim_inner": 3, "dim_value": 5},
    {"sizes": [(1, 1, 1), (2, 3, 2)], "wrapper": "concat", "dropout": 0.0},
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "nonlocal": [
        {},
        {"subsample": False},
        {"scale": True},
        {"dim_inner": 2},
        {"dim_inner": 13, "subsample": False},
        {"pool_order": "pre"},
        {"norm": "none"},
        {"reach": "space"},
        {"reach": "time"},
        {"reach": "groups", "group_frames": 2},
        {"pairwise": "gaussian"},
        {"pairwise": "gaussian", "dim_inner": 13, "pool_order": "pre"},
        {"pairwise": "dot_product"},
        {"pairwise": "dot_product", "subsample": False, "reach": "space"},
        {"pairwise": "concatenation"},
        {"pairwise": "concatenation", "subsample": False},
        {"pairwise": "concatenation", "pool_order": "pre", "reach": "groups", "group_frames": 2},
    ],
    "global_context": [
        {},
        {"ratio": 4, "norm": "none"},
        {"fusion": "multiply"},
        {"fusion": "multiply_from_one"},
        {"pooling": "average", "transform": "linear"},
        {"pooling": "average", "transform": "linear", "fusion": "multiply_from_one"},
    ],
    "gc": [{}, {"ratio": 4}],
    "criss_cross": [{}, {"num_recurrences": 1}],
    "axial": [{}, {"gate": "block"}],
    "asymmetric_pyramid": PYRAMIDS,
    "asymmetric_fusion": PYRAMIDS,
}
# In bfloat16 or autocast to it, relative to the largest output: measured over all cases on a CPU. Hops that read what
# hops have read, with logits of 50, pass their rounding on.
BFLOAT16_ERROR = {
    "nonlocal": 0.02,
    "asymmetric_pyramid": 0.007,
    "asymmetric_fusion": 0.006,
    "criss_cross": 0.006,
    "axial": 0.012,
    "global_context": 0.006,
    "snl": 0.006,
    "gc": 0.006,
    "se": 0.006,
}
CASES = [(name, options) for name in BLOCKS for options in OPTIONS.get(name, [{}])]
# Tracing takes most of the time of this file: every block, pairwise function and reach, and how two of them meet.
TRACED: list[dict[str, Any]] = [
    {},
    *({"pairwise": name} for name in ("gaussian", "dot_product", "concatenation")),
    {"pairwise": "concatenation", "pool_order": "pre", "reach": "groups", "group_frames": 2},
    {"reach": "time"},
    {"sizes": [(1, 1, 1), (2, 3, 2)], "wrapper": "concat", "dropout": 0.0},
    {"pooling": "average", "transform": "linear", "fusion": "multiply_from_one"},
]
SIZES = [(1, 1, 1), (1, 1, 7), (1, 5, 1), (3, 1, 1), (1, 5, 7), (2, 2, 2), (3, 5, 7), (5, 4, 3)]


def case_id(case: tuple[str, dict[str, Any]]) -> str:
    name, options = case
    return "-".join([name, *(f"{key}={value}" for key, value in options.items())])


@pytest.fixture(params=CASES, ids=case_id)
def build(request: pytest.FixtureRequest) -> Callable[..., AttentionBlock]:
    name, options = request.param
    return lambda channels=CHANNELS: BLOCKS[name](channels, **options)


traced = pytest.mark.parametrize(
    "build",
    [pytest.param(case, marks=[] if case[1] in TRACED else pytest.mark.slow, id=case_id(case)) for case in CASES],
    indirect=True,
)


def bfloat16_bound(block: AttentionBlock) -> float:
    (name,) = (name for name, kind in BLOCKS.items() if kind is type(block))
    return 2 * BFLOAT16_ERROR[name]


def features(*size: int, channels: int = CHANNELS, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, channels, *(size or SIZE), generator=generator, dtype=torch.float64).to(dtype)


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation puts out."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(leaf.numel() for leaf in tree_leaves(output) if isinstance(leaf, Tensor))])
        return output


@pytest.fixture
def _no_dynamo_state() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("training", [True, False])
def test_block_is_exactly_the_identity_at_initialization(build, size, training) -> None:
    x = features(*size)
    block = build().train(training)
    assert torch.equal(block(x), x) == block.identity_at_init


@pytest.mark.parametrize("size", SIZES)
def test_any_grid_keeps_its_shape_and_every_weight_is_used(build, awaken: Awaken, size) -> None:
    block = awaken(build()).eval()
    x = features(*size)
    z = block(x)
    assert z.shape == x.shape
    assert z.isfinite().all()
    assert not torch.allclose(z, x)
    z.square().sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_memory_format_does_not_change_the_result(build, awaken: Awaken) -> None:
    block = awaken(build()).double().eval()
    x = features(dtype=torch.float64)
    channels_last = x.to(memory_format=torch.channels_last_3d)
    strided = x.repeat_interleave(2, dim=4)[..., ::2]
    transposed = x.transpose(2, 4).contiguous().transpose(2, 4)
    assert not any(view.is_contiguous() for view in (channels_last, strided, transposed))
    queries = torch.tensor([0, 31, 104])
    for view in (channels_last, strided, transposed):
        torch.testing.assert_close(block(view), block(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(block.attention(view, queries), block.attention(x, queries), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_an_identity_leaves_the_memory_format_too(build, awaken: Awaken, memory_format, training) -> None:
    block, x = awaken(build()), features().contiguous(memory_format=memory_format)
    # Another format would have the layers that follow round otherwise than without the block.
    assert block.train(training)(x).stride() == x.stride() or not block.identity_at_init


@pytest.mark.parametrize(
    ("dtype", "bound"),
    # Measured over all cases on a CPU: 7e-7 in float32, 0.0026 in float16; for bfloat16 see above.
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, None), (torch.float16, 6e-3)],
    ids=str,
)
def test_every_dtype_runs_is_kept_and_stays_close_to_float64(build, awaken: Awaken, dtype, bound) -> None:
    block = awaken(build()).eval()
    expected = copy.deepcopy(block).double()(features(dtype=torch.float64))
    z = block.to(dtype)(features(dtype=dtype))
    assert z.dtype == dtype
    assert (z.double() - expected).abs().max() / expected.abs().max() < (bound or bfloat16_bound(block))


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(build, awaken: Awaken, training: bool) -> None:
    block = awaken(build(channels=2)).double().train(training)
    names, parameters = zip(*block.named_parameters(), strict=True)
    x = features(2, 3, 5, channels=2, dtype=torch.float64).requires_grad_()

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(forward, (x, *parameters), fast_mode=True)


def test_eval_is_deterministic_and_leaves_the_block_alone(build, awaken: Awaken) -> None:
    block = awaken(build()).eval()
    before = copy.deepcopy(block.state_dict())
    assert torch.equal(block(features()), block(features()))
    block.attention(features(), torch.tensor([0]))
    assert all(torch.equal(value, before[key]) for key, value in block.state_dict().items())


def test_clips_of_a_batch_do_not_see_one_another(build, awaken: Awaken) -> None:
    block = awaken(build()).double().eval()
    x = features(batch=3, dtype=torch.float64)
    alone = torch.cat([block(clip) for clip in x.split(1)])
    torch.testing.assert_close(block(x), alone, rtol=1e-12, atol=1e-12)


@traced
def test_export_computes_the_same(build, awaken: Awaken) -> None:
    block = awaken(build()).eval()
    exported = torch.export.export(block, (features(),))
    torch.testing.assert_close(exported.module()(features()), block(features()))


@traced
@pytest.mark.usefixtures("_no_dynamo_state")
def test_compile_needs_no_graph_break(build, awaken: Awaken) -> None:
    block = awaken(build()).eval()
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(features()), block(features()))


def test_autocast_is_close_to_full_precision(build, awaken: Awaken) -> None:
    block = awaken(build()).eval()
    expected = block(features())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = block(features())
        weights = block.attention(features(), torch.tensor([0, 31, 104]))
    # A wrapper that concatenates ends in a convolution, whose output autocast leaves narrow, as any backbone's.
    assert z.dtype == (torch.bfloat16 if isinstance(getattr(block, "fuse", None), nn.Module) else torch.float32)
    assert (z - expected).abs().max() / expected.abs().max() < bfloat16_bound(block)
    # Measured over all cases: sums of weights are off by 0.003.
    if block.weights_sum_to_one:
        torch.testing.assert_close(weights.float().sum(dim=(2, 3, 4)), torch.ones(2, 3), rtol=0, atol=1e-2)


@pytest.mark.parametrize("size", SIZES)
def test_attention_is_a_distribution_over_the_key_grid(build, awaken: Awaken, size) -> None:
    block = awaken(build()).eval()
    num_positions = math.prod(size)
    queries = torch.tensor([num_positions - 1, 0, num_positions // 2])
    weights = block.attention(features(*size), queries)
    assert weights.shape[:2] == (2, 3)
    assert weights.ndim == 5
    assert all(key <= query for key, query in zip(weights.shape[2:], size, strict=True))
    assert weights.isfinite().all()
    if block.weights_sum_to_one:
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(dim=(2, 3, 4)), torch.ones(2, 3))


def test_attention_of_a_query_does_not_depend_on_the_others_asked(build, awaken: Awaken) -> None:
    block = awaken(build()).double().eval()
    x = features(dtype=torch.float64)
    together = block.attention(x, torch.tensor([104, 0, 31, 0]))
    for place, query in enumerate([104, 0, 31, 0]):
        alone = block.attention(x, torch.tensor([query]))
        torch.testing.assert_close(together[:, place], alone[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_forward_and_backward_never_build_queries_by_keys(
    build, memory_format, dtype, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_softmax, "WRITTEN_OUT_NUMEL", 0)  # as if the clip were large
    block = build().to(dtype).train(training)
    x = features(3, 17, 19, batch=1, dtype=dtype).to(memory_format=memory_format).requires_grad_(training)
    with LargestTensor() as largest, torch.set_grad_enabled(training):
        z = block(x)
        if training:
            z.sum().backward()
    # The lines through a position have 39 others; queries by keys have 216 or 969 numbers at each of the 969 positions.
    assert 0 < largest.numel <= (3 + 17 + 19) * 3 * 17 * 19


def test_attention_never_builds_queries_by_keys(build) -> None:
    with LargestTensor() as largest:
        build().attention(features(3, 17, 19, batch=1), torch.tensor([0, 31, 968]))
    assert 0 < largest.numel <= (3 + 17 + 19) * 3 * 17 * 19


@pytest.mark.parametrize("size", SIZES)
def test_rows_of_the_factors_are_the_attention(build, awaken: Awaken, size) -> None:
    block = awaken(build()).double().eval()
    x = features(*size, batch=1, dtype=torch.float64)
    queries = torch.tensor([math.prod(size) - 1, 0, math.prod(size) // 2])
    factors = block.factors(x)
    assert factors is not None
    torch.testing.assert_close(factors.rows(queries), block.attention(x, queries)[0], rtol=1e-10, atol=1e-10)


def test_factors_never_build_queries_by_keys(build) -> None:
    with LargestTensor() as largest:
        build().factors(features(3, 17, 19, batch=1))
    assert 0 < largest.numel <= (3 + 17 + 19) * 3 * 17 * 19


def test_blocks_that_read_alike_for_every_query_say_so(build, awaken: Awaken) -> None:
    block = awaken(build()).eval()
    first, last = block.attention(features(), torch.tensor([0, 104]))[0]
    assert block.depends_on_query != torch.equal(first, last)


@pytest.mark.parametrize("size", [(3, 5, 7)])
def test_blocks_that_weigh_no_position_say_so(build, awaken: Awaken, size) -> None:
    block = awaken(build())
    weights = block.attention(features(*size), torch.tensor([0]))
    assert block.weighs_positions != torch.equal(weights, weights.mean().expand_as(weights))


@pytest.mark.parametrize("channels", [0, -3])
def test_a_wrong_channel_count_is_refused_and_quoted(build, channels: int) -> None:
    with pytest.raises(ValueError, match=f"got {channels}"):
        build(channels=channels)


def test_options_are_keyword_only() -> None:
    for block in BLOCKS.values():
        with pytest.raises(TypeError):
            block(CHANNELS, 3)  # type: ignore[call-arg]  # a block's own second argument


def test_options_name_only_blocks_that_exist() -> None:
    assert OPTIONS.keys() <= BLOCKS.keys()
    assert BFLOAT16_ERROR.keys() == BLOCKS.keys()


def test_the_detector_sees_a_matrix_of_queries_by_keys() -> None:
    with LargestTensor() as largest:
        x = torch.ones(969, 3)
        (x @ x.T).softmax(dim=1)
    assert largest.numel == 969 * 969
