"""All pairwise forms, reaches and dimensions of the non-local block against formulas with an N x M matrix."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.blocks import NonLocal

Awaken = Callable[[nn.Module], nn.Module]
BATCH, CHANNELS, DIM_INNER, SIZE = 2, 7, 5, (5, 4, 7)
PAIRWISE = ["embedded_gaussian", "gaussian", "dot_product", "concatenation"]
REACHES: list[dict[str, Any]] = [
    {},
    {"reach": "space"},
    {"reach": "time"},
    {"reach": "groups", "group_frames": 2},
    {"reach": "groups", "group_frames": 5},
    {"reach": "groups", "group_frames": 99},
]
QUERIES = [139, 0, 31, 31, 84]


def draw(*size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(BATCH, CHANNELS, *(size or SIZE), generator=generator, dtype=torch.float64).to(dtype)


def project(conv: nn.Module, x: Tensor) -> Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    return torch.einsum("oc,bc...->bo...", conv.weight.flatten(1), x) + conv.bias.reshape(shape)


def pool(x: Tensor) -> Tensor:
    """The largest of neighbors along each of the last two axes (the last one in 1D), one axis after the other."""
    for axis in range(max(x.ndim - 2, 2), x.ndim):
        if x.shape[axis] > 1:
            even = x.shape[axis] // 2 * 2
            x = x.narrow(axis, 0, even).unflatten(axis, (-1, 2)).amax(axis + 1)
    return x


def naive_weights(block: NonLocal, theta: Tensor, phi: Tensor) -> Tensor:
    """(B, Ci, N) and (B, Ci, M) -> (B, N, M)."""
    num_keys = phi.shape[2]
    if block.pairwise == "concatenation":
        pairs = torch.cat(
            [theta[:, :, :, None].expand(-1, -1, -1, num_keys), phi[:, :, None].expand(-1, -1, theta.shape[2], -1)], 1
        )
        return torch.einsum("c,bcnm->bnm", block.concat, pairs).clamp(min=0) / num_keys
    affinity = torch.einsum("bcn,bcm->bnm", theta, phi)
    if block.pairwise == "dot_product":
        return affinity / num_keys
    f = torch.exp(block.scale * affinity - (block.scale * affinity).amax())
    return f / f.sum(dim=2, keepdim=True)


def naive_spacetime(block: NonLocal, x: Tensor, *, subsample: bool, pre: bool) -> tuple[Tensor, Tensor, torch.Size]:
    """What the block adds before norm and out: y (B, Ci, *grid), weights (B, N, M), and the key grid."""
    source = pool(x) if subsample and pre else x
    theta = x if block.pairwise == "gaussian" else project(block.theta, x)
    phi = source if block.pairwise == "gaussian" else project(block.phi, source)
    g = project(block.g, source)
    if subsample and not pre:
        phi, g = pool(phi), pool(g)
    weights = naive_weights(block, theta.flatten(2), phi.flatten(2))
    y = torch.einsum("bnm,bcm->bcn", weights, g.flatten(2)).reshape(x.shape[0], -1, *x.shape[2:])
    return y, weights, phi.shape[2:]


def naive_y(block: NonLocal, x: Tensor, reach: str = "spacetime", group_frames: int = 1, **options: bool) -> Tensor:
    """The spacetime form on every frame, tube or chunk by itself."""
    if reach == "spacetime":
        return naive_spacetime(block, x, **options)[0]
    if reach == "time":
        y = x.new_zeros(x.shape[0], DIM_INNER, *x.shape[2:])
        for row in range(x.shape[3]):
            for column in range(x.shape[4]):
                tube = x[:, :, :, row : row + 1, column : column + 1]
                y[:, :, :, row : row + 1, column : column + 1] = naive_spacetime(block, tube, **options)[0]
        return y
    frames = 1 if reach == "space" else group_frames
    return torch.cat([naive_spacetime(block, chunk, **options)[0] for chunk in x.split(frames, dim=2)], dim=2)


def naive_block(block: NonLocal, x: Tensor, y: Tensor) -> Tensor:
    z = project(block.out, y)
    if isinstance(block.norm, nn.Identity):
        return z + x
    per_channel = (block.norm.running_mean, block.norm.running_var, block.norm.weight, block.norm.bias)
    mean, variance, gamma, beta = (value.reshape(1, -1, *[1] * (x.ndim - 2)) for value in per_channel)
    return gamma * (z - mean) / (variance + block.norm.eps).sqrt() + beta + x


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).abs().max() / expected.abs().max())


@pytest.fixture(params=PAIRWISE)
def build(request: pytest.FixtureRequest, awaken: Awaken) -> Callable[..., NonLocal]:
    def build_awake(**options: Any) -> NonLocal:
        block = NonLocal(CHANNELS, pairwise=request.param, dim_inner=DIM_INNER, **options)
        return awaken(block).double().eval()

    return build_awake


@pytest.mark.parametrize("size", [SIZE, (1, 1, 1), (2, 1, 3), (1, 6, 1)])
@pytest.mark.parametrize("pooling", [{"subsample": False}, {}, {"pool_order": "pre"}], ids=str)
@pytest.mark.parametrize("reach", REACHES, ids=str)
@torch.no_grad()
def test_block_is_its_formula(build, pooling: dict[str, Any], reach: dict[str, Any], size) -> None:
    if reach.get("reach") == "time" and "pool_order" in pooling:
        pytest.skip("refused")
    block, x = build(**pooling, **reach), draw(*size)
    y = naive_y(block, x, **reach, subsample=pooling.get("subsample", True), pre="pool_order" in pooling)
    expected = naive_block(block, x, y)
    assert relative_difference(block(x), expected) < 1e-10
    assert relative_difference(block(x) - x, expected - x) < 1e-10


@pytest.mark.parametrize("options", [{"scale": True}, {"norm": "none"}, {"scale": True, "norm": "none"}], ids=str)
@torch.no_grad()
def test_scale_and_norm_are_their_formulas(build, options: dict[str, Any]) -> None:
    if "scale" in options and build().pairwise != "embedded_gaussian":
        pytest.skip("refused")
    block, x = build(**options), draw()
    assert block.scale == (DIM_INNER**-0.5 if "scale" in options else 1)
    expected = naive_block(block, x, naive_y(block, x, subsample=True, pre=False))
    assert relative_difference(block(x), expected) < 1e-10


@pytest.mark.parametrize(("num_dims", "size"), [(1, (9,)), (1, (1,)), (2, (5, 6)), (2, (1, 7)), (3, (3, 5, 6))])
@pytest.mark.parametrize("pooling", [{"subsample": False}, {}, {"pool_order": "pre"}], ids=str)
@torch.no_grad()
def test_one_and_two_dimensions(build, num_dims: int, size: tuple[int, ...], pooling: dict[str, Any]) -> None:
    block, x = build(num_dims=num_dims, **pooling), draw(*size)
    subsample, pre = pooling.get("subsample", True), "pool_order" in pooling
    y, weights, grid = naive_spacetime(block, x, subsample=subsample, pre=pre)
    assert relative_difference(block(x), naive_block(block, x, y)) < 1e-10
    last = x[0, 0].numel() - 1
    ours = block.attention(x, torch.tensor([last, 0]))
    assert ours.shape == (BATCH, 2, *grid)
    assert relative_difference(ours.flatten(2), weights[:, [last, 0]]) < 1e-10


@pytest.mark.parametrize("pooling", [{"subsample": False}, {}, {"pool_order": "pre"}], ids=str)
@torch.no_grad()
def test_attention_is_the_rows_of_the_formula(build, pooling: dict[str, Any]) -> None:
    block, x = build(**pooling), draw()
    subsample, pre = pooling.get("subsample", True), "pool_order" in pooling
    _, weights, grid = naive_spacetime(block, x, subsample=subsample, pre=pre)
    ours = block.attention(x, torch.tensor(QUERIES))
    assert ours.shape == (BATCH, len(QUERIES), *grid)
    assert relative_difference(ours.flatten(2), weights[:, QUERIES]) < 1e-10
    if block.weights_sum_to_one:
        torch.testing.assert_close(ours.sum(dim=(2, 3, 4)), torch.ones(BATCH, len(QUERIES), dtype=x.dtype))


@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("reach", REACHES[1:], ids=str)
@torch.no_grad()
def test_attention_is_that_of_the_frame_tube_or_chunk_and_zero_elsewhere(build, reach, subsample: bool) -> None:
    block, whole = build(subsample=subsample, **reach), build(subsample=subsample)
    x = draw()
    for query in QUERIES:
        t, row, column = (int(index) for index in torch.unravel_index(torch.tensor(query), SIZE))
        frames = 1 if reach["reach"] == "space" else reach.get("group_frames", SIZE[0])
        first = t // frames * frames
        where = (slice(first, first + frames), slice(None), slice(None))
        if reach["reach"] == "time":
            where = (slice(None), slice(row, row + 1), slice(column, column + 1))
            inside = t
        else:
            inside = ((t - first) * SIZE[1] + row) * SIZE[2] + column
        part = whole.attention(x[(slice(None), slice(None), *where)], torch.tensor([inside]))
        ours = block.attention(x, torch.tensor([query]))
        expected = torch.zeros_like(ours)
        expected[(slice(None), slice(None), *where)] = part
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
        assert torch.equal(ours, block.attention(x, torch.tensor([query - 140])))  # from the end


@torch.no_grad()
def test_positions_in_another_order_give_the_same_in_that_order(build) -> None:
    block, x = build(subsample=False), draw()
    order = torch.randperm(140, generator=torch.Generator().manual_seed(3))

    def shuffle(x: Tensor) -> Tensor:
        return x.flatten(2)[:, :, order].reshape_as(x)

    torch.testing.assert_close(block(shuffle(x)), shuffle(block(x)), rtol=1e-11, atol=1e-11)


@torch.no_grad()
def test_dot_product_divides_by_the_number_of_keys(awaken: Awaken) -> None:
    block = awaken(NonLocal(CHANNELS, pairwise="dot_product", norm="none", subsample=False)).double()
    x = draw(1, 1, 1).expand(-1, -1, 3, 5, 7)  # all positions alike: the mean over keys is one of them
    torch.testing.assert_close(block(x), block(x[:, :, :1, :1, :1]).expand_as(x))


@torch.no_grad()
def test_the_two_pool_orders_differ(build) -> None:
    x = draw()
    assert not torch.allclose(build(pool_order="pre")(x), build()(x), rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@torch.no_grad()
def test_logits_in_the_thousands_stay_finite(build, dtype: torch.dtype) -> None:
    x = 60 * draw(dtype=dtype)
    block = copy.deepcopy(build()).to(dtype)
    weights = block.attention(x, torch.tensor(QUERIES))
    assert weights.isfinite().all()
    # The dot product is cubic in x: what it puts out is itself beyond the largest float16, 65,504.
    assert block(x).isfinite().all() or (block.pairwise == "dot_product" and dtype == torch.float16)
    if block.pairwise == "gaussian":  # it saturates: most positions read themselves alone, for x . x exceeds x . y
        own = NonLocal(CHANNELS, pairwise="gaussian", subsample=False).to(dtype).attention(x, torch.tensor(QUERIES))
        assert (own.amax(dim=(2, 3, 4)) > 0.99).float().mean() > 0.5


# Relative to the largest output; measured on a CPU: 0.0065, 0.0040, 0.0062 and 0.0039.
BFLOAT16_ERROR = {"embedded_gaussian": 0.013, "gaussian": 0.008, "dot_product": 0.013, "concatenation": 0.008}


@torch.no_grad()
def test_bfloat16_error_of_each_form(build) -> None:
    block, x = build(subsample=False), draw()
    lower = copy.deepcopy(block).bfloat16()(x.bfloat16())
    assert relative_difference(lower, block(x)) < BFLOAT16_ERROR[block.pairwise]


def test_every_form_starts_as_the_identity_with_or_without_norm() -> None:
    x = draw().float()
    for pairwise in PAIRWISE:
        for norm in ("batch", "none"):
            assert torch.equal(NonLocal(CHANNELS, pairwise=pairwise, norm=norm)(x), x)
    block = NonLocal(CHANNELS, norm="none")
    assert not block.out.weight.any() and not block.out.bias.any()
    assert "norm.weight" not in block.state_dict()


def test_the_gaussian_form_projects_values_alone() -> None:
    keys = {key.rpartition(".")[0] for key in NonLocal(CHANNELS, pairwise="gaussian", norm="none").state_dict()}
    assert keys == {"g", "out"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairwise": "cosine"}, "pairwise must be one of embedded_gaussian, .*concatenation; got 'cosine'"),
        ({"pool_order": "before"}, "pool_order must be one of post, pre; got 'before'"),
        ({"reach": "far"}, "reach must be one of spacetime, space, time, groups; got 'far'"),
        ({"norm": "layer"}, "norm must be one of batch, none; got 'layer'"),
        ({"num_dims": 4}, "num_dims must be one of 1, 2, 3; got 4"),
        ({"scale": True, "pairwise": "dot_product"}, "scale=True is for .*got pairwise='dot_product'"),
        ({"reach": "groups"}, "group_frames requires reach='groups', got group_frames=None"),
        ({"group_frames": 4}, "group_frames requires reach='groups', got group_frames=4, reach='spacetime'"),
        ({"reach": "groups", "group_frames": 0}, "group_frames must be at least 1, got 0"),
        ({"reach": "space", "num_dims": 2}, "reach='space' needs time and space, num_dims=3; got num_dims=2"),
        ({"pool_order": "pre", "subsample": False}, "pool_order='pre' needs something to pool"),
        ({"pool_order": "pre", "reach": "time"}, "pool_order='pre' needs something to pool"),
    ],
)
def test_options_that_are_wrong_or_do_not_apply_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NonLocal(CHANNELS, **options)


@pytest.mark.parametrize("size", [(0, 7, 3, 5, 7), (2, 7, 0, 5, 7), (2, 7, 5, 7)])
def test_an_empty_batch_or_grid_and_a_wrong_rank_are_refused(build, size: tuple[int, ...]) -> None:
    for call in (build(), lambda x: build().attention(x, torch.tensor([0]))):
        with pytest.raises(ValueError, match=f"got shape {size}".replace("(", r"\(").replace(")", r"\)")):
            call(torch.zeros(size, dtype=torch.float64))


def test_pooling_is_that_of_pytorch() -> None:
    x = draw()
    assert torch.equal(pool(x), F.max_pool3d(x, (1, 2, 2)))
