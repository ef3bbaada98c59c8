"""Asymmetric non-local blocks against their formulas, step by step, and against public implementations."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.blocks import AsymmetricFusion, AsymmetricPyramid

Awaken = Callable[[nn.Module], nn.Module]
CHANNELS, LOW_CHANNELS, SIZE, LOW_SIZE = 7, 5, (2, 3, 5), (4, 5, 7)
SIZES = [(1, 1, 1), (2, 3, 2)]
OPTIONS = {"dim_inner": 3, "dim_value": 2, "sizes": SIZES}


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def project(conv: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,bc...->bo...", conv.weight.flatten(1), x) + conv.bias[:, None, None, None]


def normalize(norm: nn.Module, x: Tensor) -> Tensor:
    mean, variance, gamma, beta = (
        v[:, None, None, None] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return gamma * (x - mean) / (variance + norm.eps).sqrt() + beta


def embed(embedding: nn.Module, x: Tensor) -> Tensor:
    return normalize(embedding[1], project(embedding[0], x)).clamp(min=0)


def pool(x: Tensor) -> Tensor:
    return torch.cat([F.adaptive_avg_pool3d(x, size).flatten(2) for size in SIZES], dim=2)


def naive(block: nn.Module, high: Tensor, low: Tensor, key: nn.Module) -> tuple[Tensor, Tensor]:
    """What W puts out, and the weights over bins; values are projected everywhere, then pooled."""
    theta = embed(block.theta, high).flatten(2)
    affinity = torch.einsum("bcn,bcs->bns", theta, pool(embed(key, low))) / theta.shape[1] ** 0.5
    weights = torch.exp(affinity) / torch.exp(affinity).sum(dim=2, keepdim=True)
    y = torch.einsum("bns,bcs->bcn", weights, pool(project(block.g, low)))
    return project(block.out, y.unflatten(2, high.shape[2:])), weights


@pytest.mark.parametrize("wrapper", ["residual", "concat"])
@pytest.mark.parametrize("size", [SIZE, (1, 2, 3), (1, 1, 1), (3, 5, 7)])
def test_pyramid_is_its_formula(awaken: Awaken, wrapper, size) -> None:
    x = draw(2, CHANNELS, *size)
    block = awaken(AsymmetricPyramid(CHANNELS, wrapper=wrapper, **OPTIONS)).double().eval()
    with torch.no_grad():
        change, _ = naive(block, x, x, block.theta)
        expected = x + change
        if wrapper == "concat":
            fused = project(block.fuse[0], torch.cat([change, x], dim=1))
            expected = normalize(block.fuse[1], fused).clamp(min=0)
        torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("wrapper", ["residual", "concat"])
@pytest.mark.parametrize("low_size", [LOW_SIZE, SIZE, (1, 2, 1)])
def test_fusion_is_its_formula(awaken: Awaken, wrapper, low_size) -> None:
    high, low = draw(2, CHANNELS, *SIZE), draw(2, LOW_CHANNELS, *low_size)
    block = AsymmetricFusion(CHANNELS, low_channels=LOW_CHANNELS, wrapper=wrapper, **OPTIONS)
    block = awaken(block).double().eval()
    with torch.no_grad():
        change, _ = naive(block, high, low, block.phi)
        expected = high + change
        if wrapper == "concat":  # without a ReLU
            expected = normalize(block.fuse[1], project(block.fuse[0], torch.cat([change, high], dim=1)))
        torch.testing.assert_close(block(high, low), expected, rtol=1e-10, atol=1e-11)


def authors_step(conv: nn.Module, norm: nn.Module, x: Tensor, uses: int) -> Tensor:
    """Their embedding in training: convolution, norm and ReLU run again for every use, on the batch's statistics."""
    embedded = x
    for _ in range(uses):
        projected = project(conv, x)
        over = (0, 2, 3, 4)
        mean, count = projected.mean(over), projected[:, 0].numel()
        variance = projected.var(over, unbiased=False)
        norm.running_mean = 0.9 * norm.running_mean + 0.1 * mean
        norm.running_var = 0.9 * norm.running_var + 0.1 * variance * count / (count - 1)
        centered = (projected - mean[:, None, None, None]) / (variance + norm.eps)[:, None, None, None].sqrt()
        embedded = (norm.weight[:, None, None, None] * centered + norm.bias[:, None, None, None]).clamp(min=0)
    return embedded


@pytest.mark.parametrize("kind", [AsymmetricPyramid, AsymmetricFusion])
def test_statistics_move_as_in_the_authors_training(awaken: Awaken, kind: type[nn.Module]) -> None:
    """APNB's queries and keys are one embedding, which runs twice there; AFNB has one for each."""
    block = awaken(kind(CHANNELS, **OPTIONS)).double().train()
    theirs = copy.deepcopy(block.theta)
    with torch.no_grad():
        for step in range(3):
            x = draw(2 + step, CHANNELS, *SIZE)
            expected = authors_step(theirs[0], theirs[1], x, uses=2 if kind is AsymmetricPyramid else 1)
            assert (block.theta(x) - expected).abs().max() < 1e-10
    for name in ("running_mean", "running_var"):
        assert (getattr(block.theta[1], name) - getattr(theirs[1], name)).abs().max() < 1e-10


@pytest.mark.parametrize("kind", [AsymmetricPyramid, AsymmetricFusion])
def test_dropout_takes_whole_channels(awaken: Awaken, kind: type[nn.Module]) -> None:
    torch.manual_seed(5)
    x = draw(11, CHANNELS, *SIZE)
    block = awaken(kind(CHANNELS, wrapper="concat", dropout=0.4, **OPTIONS)).double().train()
    fused = block(x)
    block.fuse[-1].p = 0.0
    ratios = fused / block(x)
    dropped = (fused == 0).all(dim=(2, 3, 4))
    assert 0.2 < dropped.double().mean() < 0.6
    kept = ratios[~dropped]
    torch.testing.assert_close(kept[kept.isfinite()], torch.full_like(kept[kept.isfinite()], 1 / 0.6))


def spread(weights: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Weights over bins on the cells they average: what each cell's one-hot features, pooled, would collect."""
    num_cells = torch.Size(grid).numel()
    one_hot = torch.eye(num_cells, dtype=weights.dtype).unflatten(1, grid)
    return torch.einsum("bqs,ns->bqn", weights, pool(one_hot[:, None])[:, 0]).unflatten(2, grid)


def test_attention_spreads_the_weights_of_bins_over_their_cells(awaken: Awaken) -> None:
    x, queries = draw(2, CHANNELS, *SIZE), [29, 0, 3]
    block = awaken(AsymmetricPyramid(CHANNELS, **OPTIONS)).double().eval()
    _, weights = naive(block, x, x, block.theta)
    torch.testing.assert_close(block.attention(x, torch.tensor(queries)), spread(weights[:, queries], SIZE))


def test_attention_of_a_fusion_lies_on_the_low_grid(awaken: Awaken) -> None:
    high, low, queries = draw(2, CHANNELS, *SIZE), draw(2, LOW_CHANNELS, *LOW_SIZE), [29, 0, 3]
    block = awaken(AsymmetricFusion(CHANNELS, low_channels=LOW_CHANNELS, **OPTIONS)).double().eval()
    _, weights = naive(block, high, low, block.phi)
    actual = block.attention(high, torch.tensor(queries), low)
    torch.testing.assert_close(actual, spread(weights[:, queries], LOW_SIZE))
    torch.testing.assert_close(actual.sum(dim=(2, 3, 4)), torch.ones(2, 3, dtype=torch.float64))
    factors = block.factors(high[:1], low[:1])
    torch.testing.assert_close(factors.rows(torch.tensor(queries)), actual[0], rtol=1e-10, atol=1e-10)


def test_gradients_of_both_stages_are_those_of_finite_differences(awaken: Awaken) -> None:
    block = awaken(AsymmetricFusion(3, low_channels=2, sizes=SIZES)).double().eval()
    high, low = draw(1, 3, 1, 2, 3).requires_grad_(), draw(1, 2, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(block, (high, low))


def test_fusion_without_a_low_stage_reads_itself(awaken: Awaken) -> None:
    x = draw(2, CHANNELS, *SIZE)
    block = awaken(AsymmetricFusion(CHANNELS, **OPTIONS)).double().eval()
    assert torch.equal(block(x), block(x, x))


def test_default_pyramid_has_219_bins() -> None:
    block = AsymmetricPyramid(CHANNELS)
    assert sum(torch.Size(level).numel() for level in block.levels) == 219
    assert (block.theta[0].out_channels, block.g.out_channels) == (3, 3)


@pytest.mark.parametrize("block", [AsymmetricPyramid, AsymmetricFusion])
def test_wrapper_that_concatenates_says_that_it_is_no_identity(block) -> None:
    assert block(CHANNELS).identity_at_init
    concat = block(CHANNELS, wrapper="concat")
    assert not concat.identity_at_init
    assert concat.fuse[-1].p == 0.05
    assert any(isinstance(module, nn.ReLU) for module in concat.fuse) == (block is AsymmetricPyramid)


@pytest.mark.parametrize("block", [AsymmetricPyramid, AsymmetricFusion])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dim_inner": 0}, "dim_inner must be at least 1, got 0"),
        ({"dim_value": -3}, "dim_value must be at least 1, got -3"),
        ({"sizes": []}, r"sizes must be \(s_T, s_H, s_W\) for each level.*got \[\]"),
        ({"sizes": [(1, 3)]}, r"got \[\(1, 3\)\]"),
        ({"sizes": [(1, 3, 0)]}, r"got \[\(1, 3, 0\)\]"),
        ({"wrapper": "cat"}, "wrapper must be one of residual, concat; got 'cat'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_wrong_options_are_refused_and_quoted(block, options, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        block(CHANNELS, **options)


def test_empty_batches_and_other_ranks_are_refused() -> None:
    block = AsymmetricFusion(CHANNELS)
    with pytest.raises(ValueError, match="got shape"):
        block(torch.zeros(0, CHANNELS, *SIZE))
    with pytest.raises(ValueError, match="got shape"):
        block(torch.zeros(2, CHANNELS, *SIZE), torch.zeros(2, CHANNELS, 3, 5))


SIZES_2D = [(1, size, size) for size in (1, 3, 6, 8)]


@pytest.mark.shared
def test_pyramid_agrees_with_a_public_implementation(load_golden) -> None:
    block = AsymmetricPyramid(8, dim_inner=4, dim_value=4, sizes=SIZES_2D, wrapper="concat").double().eval()
    names = {
        "stages.0.f_key.0": "theta.0",
        "stages.0.f_key.1.0": "theta.1",
        "stages.0.f_query.0": "theta.0",
        "stages.0.f_query.1.0": "theta.1",
        "stages.0.f_value": "g",
        "stages.0.W": "out",
        "conv_bn_dropout.0": "fuse.0",
        "conv_bn_dropout.1.0": "fuse.1",
    }
    golden = load_golden(block, "apnb_concat_wrapper", names)
    with torch.no_grad():
        z = block(golden["input0"].unsqueeze(2)).squeeze(2)
    assert (z - golden["output"]).abs().max() / golden["output"].abs().max() < 1e-10


@pytest.mark.shared
def test_fusion_agrees_with_a_public_implementation(load_golden) -> None:
    block = AsymmetricFusion(8, low_channels=6, dim_inner=4, dim_value=4, sizes=SIZES_2D).double().eval()
    names = {
        "f_key.0": "phi.0",
        "f_key.1.0": "phi.1",
        "f_query.0": "theta.0",
        "f_query.1.0": "theta.1",
        "f_value": "g",
        "W": "out",
    }
    golden = load_golden(block, "afnb_inner", names)
    low, high = golden["input0"].unsqueeze(2), golden["input1"].unsqueeze(2)
    with torch.no_grad():
        change = block(high, low) - high  # the public vector has no wrapper
    assert (change.squeeze(2) - golden["output"]).abs().max() / golden["output"].abs().max() < 1e-10
