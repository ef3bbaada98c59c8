"""The non-local block against its formula, every step by hand, and against a public implementation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from videonl.blocks import NonLocal

Awaken = Callable[[nn.Module], nn.Module]
BATCH, CHANNELS, DIM_INNER, SIZE = 2, 7, 5, (3, 5, 7)
GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "nonlocal_embedded_gaussian_postpool.npz"


@pytest.fixture
def x() -> Tensor:
    return torch.randn(BATCH, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def project(conv: nn.Module, x: Tensor) -> Tensor:
    """A 1x1x1 convolution as a matrix: (B, C, T, H, W) -> (B, Ci, T, H, W)."""
    weight = conv.weight[:, :, 0, 0, 0]
    return torch.einsum("oc,bcthw->bothw", weight, x) + conv.bias[:, None, None, None]


def pool(x: Tensor) -> Tensor:
    """The largest of every 2 x 2 pixels, one by one; a last odd row or column is dropped."""
    height, width = x.shape[3] // 2, x.shape[4] // 2
    pooled = torch.empty(*x.shape[:3], height, width, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            window = x[:, :, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            pooled[:, :, :, row, column] = window.flatten(3).max(dim=3).values
    return pooled


def naive_weights(block: NonLocal, x: Tensor, *, subsample: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Weights (B, N, M) and values (B, M, Ci)."""
    theta, phi, g = project(block.theta, x), project(block.phi, x), project(block.g, x)
    if subsample:
        phi, g = pool(phi), pool(g)
    f = torch.exp(scale * torch.einsum("bcn,bcm->bnm", theta.flatten(2), phi.flatten(2)))
    return f / f.sum(dim=2, keepdim=True), g.flatten(2).transpose(1, 2)


def naive_block(block: NonLocal, x: Tensor, *, subsample: bool, scale: float) -> Tensor:
    weights, g = naive_weights(block, x, subsample=subsample, scale=scale)
    y = torch.einsum("bnm,bmc->bcn", weights, g).reshape(BATCH, -1, *SIZE)
    norm = block.norm
    per_channel = [v[:, None, None, None] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)]
    mean, variance, gamma, beta = per_channel
    return gamma * (project(block.out, y) - mean) / (variance + norm.eps).sqrt() + beta + x


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_block_is_its_formula(x: Tensor, awaken: Awaken, subsample: bool, scale: bool) -> None:
    block = awaken(NonLocal(CHANNELS, dim_inner=DIM_INNER, subsample=subsample, scale=scale)).double().eval()
    with torch.no_grad():
        expected = naive_block(block, x, subsample=subsample, scale=DIM_INNER**-0.5 if scale else 1.0)
        assert relative_difference(block(x), expected) < 1e-10
        # What the block adds, free of the much larger x.
        assert relative_difference(block(x) - x, expected - x) < 1e-10


@pytest.mark.parametrize(("subsample", "key_grid"), [(True, (3, 2, 3)), (False, (3, 5, 7))])
@pytest.mark.parametrize("scale", [True, False])
def test_attention_is_the_rows_of_the_formula(x: Tensor, awaken: Awaken, subsample, key_grid, scale: bool) -> None:
    block = awaken(NonLocal(CHANNELS, dim_inner=DIM_INNER, subsample=subsample, scale=scale)).double().eval()
    queries = [104, 0, 31, 31]
    with torch.no_grad():
        weights = block.attention(x, torch.tensor(queries))
        expected, _ = naive_weights(block, x, subsample=subsample, scale=DIM_INNER**-0.5 if scale else 1.0)
    assert weights.shape == (BATCH, 4, *key_grid)
    assert relative_difference(weights.flatten(2), expected[:, queries]) < 1e-10


def test_queries_count_time_then_rows_then_columns(x: Tensor, awaken: Awaken) -> None:
    block = awaken(NonLocal(CHANNELS)).double().eval()
    t, row, column = 2, 1, 4
    index = (t * SIZE[1] + row) * SIZE[2] + column
    keys = pool(project(block.phi, x)).flatten(2)
    theta = project(block.theta, x)[:, :, t, row, column]
    expected = torch.einsum("bc,bcm->bm", theta, keys).softmax(dim=1)
    torch.testing.assert_close(block.attention(x, torch.tensor([index])).flatten(1), expected)


@pytest.mark.parametrize(("channels", "dim_inner"), [(11, 5), (2, 1), (1, 1)])
def test_inner_channels_are_half_and_at_least_one(channels: int, dim_inner: int) -> None:
    block = NonLocal(channels)
    assert [conv.out_channels for conv in (block.theta, block.phi, block.g)] == [dim_inner] * 3
    assert (block.out.in_channels, block.out.out_channels) == (dim_inner, channels)


@pytest.mark.parametrize("options", [{"dim_inner": 0}, {"dim_inner": -3}])
def test_wrong_sizes_are_refused_and_quoted(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"dim_inner must be at least 1, got {options['dim_inner']}"):
        NonLocal(CHANNELS, **options)


def test_projections_start_small_and_unbiased() -> None:
    torch.manual_seed(0)
    block = NonLocal(97)
    for conv in (block.theta, block.phi, block.g, block.out):
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert torch.equal(conv.bias, torch.zeros_like(conv.bias))
    assert not block.norm.weight.any()
    assert not block.norm.bias.any()


def test_the_block_can_leave_the_identity() -> None:
    block = NonLocal(CHANNELS)
    block(torch.randn(BATCH, CHANNELS, *SIZE)).square().sum().backward()
    assert block.norm.weight.grad.abs().min() > 0


def test_frames_in_another_order_give_the_same_in_that_order(x: Tensor, awaken: Awaken) -> None:
    """Every position reads every other, and nothing knows where it is."""
    block = awaken(NonLocal(CHANNELS)).double().eval()
    order = [2, 0, 1]
    torch.testing.assert_close(block(x[:, :, order]), block(x)[:, :, order], rtol=1e-12, atol=1e-12)


PUBLIC_NAMES = {"g.0": "g", "theta": "theta", "phi.0": "phi", "W.0": "out", "W.1": "norm"}


@pytest.mark.shared
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
def test_block_agrees_with_a_public_implementation(dtype: torch.dtype, bound: float) -> None:
    if not GOLDEN.is_file():
        pytest.skip(f"{GOLDEN} is absent")
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN).items()}
    block = NonLocal(6, dim_inner=3).double().eval()
    weights = {key.removeprefix("state."): value for key, value in golden.items() if key.startswith("state.")}
    renamed = {
        f"{PUBLIC_NAMES[module]}.{name}": value
        for module, name, value in ((*key.rsplit(".", 1), value) for key, value in weights.items())
    }
    renamed["norm.num_batches_tracked"] = torch.tensor(0)
    block.load_state_dict(renamed)
    with torch.no_grad():
        z = block.to(dtype)(golden["input0"].to(dtype))
    assert relative_difference(z.double(), golden["output"]) < bound
