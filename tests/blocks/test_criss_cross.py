"""Criss-cross and axial attention against their formulas, their reach, and public implementations."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from videonl.blocks import Axial, CrissCross

Awaken = Callable[[nn.Module], nn.Module]
CHANNELS, SIZE = 5, (2, 3, 5)
NUM_POSITIONS = 30


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def project(conv: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,bcn->bon", conv.weight.flatten(1), x.flatten(2)) + conv.bias[:, None]


def share_a_line(size: tuple[int, ...], axes: tuple[int, ...]) -> Tensor:
    """Which of N x N positions differ in nothing but one coordinate, that of one of the axes 0, 1, 2."""
    positions = list(product(*map(range, size)))
    return torch.tensor(
        [
            [any(all(p[d] == q[d] for d in range(len(size)) if d != a) for a in axes) for q in positions]
            for p in positions
        ]
    )


def naive_hop(hop: nn.Module, x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """What leaves the hop, and its weights as an N x N matrix."""
    affinity = torch.einsum("bcn,bcm->bnm", project(hop.theta, x), project(hop.phi, x))
    f = torch.exp(affinity) * share_a_line(x.shape[2:], axes)
    weights = f / f.sum(dim=2, keepdim=True)
    y = torch.einsum("bnm,bcm->bcn", weights, project(hop.g, x))
    return hop.gamma * y.reshape(x.shape) + x, weights


def naive(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What leaves the block, and the product of its hops' matrices, the last hop leftmost."""
    if isinstance(block, CrissCross):
        hops = [(block.hop, tuple(range(x.ndim - 2)))] * block.num_recurrences
    else:
        hops = list(zip(block.steps, [(1,), (2,), (0,)] if x.ndim == 5 else [(0,), (1,)], strict=True))
    z, matrix = x, torch.eye(x[0, 0].numel(), dtype=x.dtype)
    for hop, axes in hops:
        z, weights = naive_hop(hop, z, axes)
        matrix = weights @ matrix
    return (z if block.gamma is None else x + block.gamma * (z - x)), matrix


BLOCKS = {
    **{
        f"criss-cross R={r}": lambda num_dims, r=r: CrissCross(
            CHANNELS, num_recurrences=r, reduction=2, num_dims=num_dims
        )
        for r in (1, 2, 3)
    },
    "axial": lambda num_dims: Axial(CHANNELS, reduction=2, num_dims=num_dims),
    "criss-cross, one gate": lambda num_dims: CrissCross(CHANNELS, reduction=2, num_dims=num_dims, gate="block"),
    "axial, one gate": lambda num_dims: Axial(CHANNELS, reduction=2, num_dims=num_dims, gate="block"),
}


@pytest.mark.parametrize("size", [(2, 3, 5), (1, 3, 5), (3, 1, 1), (3, 5)])
@pytest.mark.parametrize("name", BLOCKS)
def test_block_and_attention_are_their_formulas(awaken: Awaken, name: str, size: tuple[int, ...]) -> None:
    block = awaken(BLOCKS[name](len(size))).double().eval()
    x = torch.randn(2, CHANNELS, *size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    queries = [len(x[0, 0].flatten()) - 1, 0, 2]
    with torch.no_grad():
        expected, matrix = naive(block, x)
        torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-10)
        weights = block.attention(x, torch.tensor(queries))
    assert weights.shape == (2, 3, *size)
    torch.testing.assert_close(weights.flatten(2), matrix[:, queries], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("block", [CrissCross, Axial])
def test_one_frame_of_a_clip_is_an_image(awaken: Awaken, block, x: Tensor) -> None:
    image = awaken(block(CHANNELS, num_dims=2)).double()
    clip = block(CHANNELS).double()
    shapes = clip.state_dict()
    # The hop along time comes last and is closed: a line of one position reads that position alone.
    clip.load_state_dict({k: v.reshape(shapes[k].shape) for k, v in image.state_dict().items()}, strict=False)
    torch.testing.assert_close(clip(x[:, :, :1]), image(x[:, :, 0])[:, :, None], rtol=1e-12, atol=1e-12)


def reached_from(block: nn.Module, x: Tensor, position: tuple[int, int, int]) -> Tensor:
    """Where the output at one position depends on the input, (T, H, W)."""
    x = x[:1].clone().requires_grad_()
    block(x)[0, :, position[0], position[1], position[2]].square().sum().backward()
    return x.grad[0].abs().sum(dim=0) > 1e-12


@pytest.mark.parametrize(("num_recurrences", "num_reached"), [(1, 2 + 3 + 5 - 2), (2, 30 - 1 * 2 * 4), (3, 30)])
def test_three_recurrences_reach_every_position(awaken: Awaken, x, num_recurrences: int, num_reached: int) -> None:
    block = awaken(CrissCross(CHANNELS, num_recurrences=num_recurrences)).double()
    reached = reached_from(block, x, (1, 0, 3))
    # One reaches the lines; two all but the positions that differ in all three coordinates; three all.
    assert reached.sum() == num_reached


def test_axial_attention_reaches_every_position_in_one_pass(awaken: Awaken, x: Tensor) -> None:
    assert reached_from(awaken(Axial(CHANNELS)).double(), x, (1, 0, 3)).all()


@pytest.mark.parametrize("kind", [CrissCross, Axial])
@pytest.mark.parametrize(("gate", "is_everywhere"), [("hops", False), ("block", True)])
def test_at_the_start_one_gate_passes_a_gradient_to_every_position(kind, gate: str, is_everywhere: bool, x) -> None:
    block = kind(CHANNELS, gate=gate).double()
    assert torch.equal(block(x), x)
    x = x[:1].clone().requires_grad_()
    gammas = [parameter for name, parameter in block.named_parameters() if name.endswith("gamma")]
    slopes = torch.autograd.grad(block(x)[0, :, 1, 0, 3].sum(), gammas, create_graph=True)
    (sources,) = torch.autograd.grad(sum(slopes), x)  # what the first step of gamma brings in, and from where
    # Gates of hops pass what is on the lines through the position: 2 + 3 + 5 - 2.
    assert (sources[0].abs().sum(dim=0) > 1e-12).sum() == (NUM_POSITIONS if is_everywhere else 8)


def test_recurrences_share_their_weights_and_axes_do_not() -> None:
    def count(block: nn.Module) -> int:
        return sum(parameter.numel() for parameter in block.parameters())

    hop = 2 * (16 * 2 + 2) + 16 * 16 + 16 + 1
    assert count(CrissCross(16)) == count(CrissCross(16, num_recurrences=5)) == hop
    assert count(Axial(16)) == 3 * hop


def test_the_block_can_leave_the_identity(x: Tensor) -> None:
    for block in (CrissCross(CHANNELS).double(), Axial(CHANNELS).double()):
        block(x).square().sum().backward()
        gammas = [value for name, value in block.named_parameters() if name.endswith("gamma")]
        assert all(gamma.item() == 0 and gamma.grad.abs() > 0 for gamma in gammas)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d], ids=str)
def test_memory_format_of_the_features_is_kept(x: Tensor, memory_format: torch.memory_format) -> None:
    x = x.contiguous(memory_format=memory_format)
    assert CrissCross(CHANNELS).double()(x).stride() == x.stride()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_recurrences": 0}, "num_recurrences must be at least 1, got 0"),
        ({"reduction": -1}, "reduction must be at least 1, got -1"),
        ({"num_dims": 1}, "num_dims must be one of 2, 3; got 1"),
    ],
)
def test_wrong_options_are_refused_and_quoted(options: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        CrissCross(CHANNELS, **options)


@pytest.mark.parametrize("shape", [(0, CHANNELS, *SIZE), (2, CHANNELS, 3, 5)])
def test_empty_batches_and_other_ranks_are_refused(shape: tuple[int, ...]) -> None:
    for block in (CrissCross(CHANNELS), Axial(CHANNELS)):
        with pytest.raises(ValueError, match=r"must be \(B, C, T, H, W\).*got shape"):
            block(torch.zeros(shape))


PUBLIC_NAMES = {"query_conv": "hop.theta", "key_conv": "hop.phi", "value_conv": "hop.g", "gamma": "hop.gamma"}


@pytest.mark.shared
@pytest.mark.parametrize("as_clip", [True, False])
def test_2d_agrees_with_a_public_implementation(load_golden, as_clip: bool) -> None:
    block = CrissCross(16, num_recurrences=1, num_dims=3 if as_clip else 2).double().eval()
    golden = load_golden(block, "crisscross2d_r1", PUBLIC_NAMES)
    image = golden["input0"]
    with torch.no_grad():
        z = block(image.unsqueeze(2)).squeeze(2) if as_clip else block(image)
    assert (z - golden["output"]).abs().max() / golden["output"].abs().max() < 1e-10


@pytest.mark.shared
def test_3d_agrees_with_a_public_implementation(load_golden) -> None:
    block = CrissCross(16, num_recurrences=1).double().eval()
    golden = load_golden(block, "crisscross3d_r1", PUBLIC_NAMES)
    with torch.no_grad():
        z = block(golden["input0"].movedim(-1, 2)).movedim(2, -1)  # (B, C, H, W, D) -> (B, C, D, H, W) and back
    assert (z - golden["output"]).abs().max() / golden["output"].abs().max() < 1e-10
