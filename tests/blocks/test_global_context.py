"""Global context blocks against their formula, against a public implementation, and against published sizes."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones import BACKBONES
from videonl.blocks import GC, SE, SNL, GlobalContext
from videonl.models import Insertion, insert

Awaken = Callable[[nn.Module], nn.Module]
CHANNELS, SIZE = 7, (3, 5, 7)
FIVE = {"res3": [1, 3], "res4": [1, 3, 5]}
ALL = {"res3": [0, 1, 2, 3], "res4": [0, 1, 2, 3, 4, 5], "res5": [0, 1, 2]}


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture
def x() -> Tensor:
    return draw(2, CHANNELS, *SIZE)


def matrix(conv: nn.Module, vector: Tensor) -> Tensor:
    return conv.weight.flatten(1) @ vector + conv.bias


def naive_clip(block: GlobalContext, x: Tensor, pooling: str, transform: str, norm: str, fusion: str) -> Tensor:
    """One clip (C, N), each step as the paper writes it."""
    if pooling == "attention":
        f = torch.exp(torch.stack([matrix(block.mask, position)[0] for position in x.T]))
        context = sum(weight * position for weight, position in zip(f / f.sum(), x.T, strict=True))
    else:
        context = sum(x.T) / x.shape[1]
    if transform == "bottleneck":
        context = matrix(block.reduce[0], context)
        if norm == "layer":
            deviation = ((context - context.mean()).square().mean() + block.reduce[1].eps).sqrt()
            normed = (context - context.mean()) / deviation
            context = normed * block.reduce[1].weight.flatten() + block.reduce[1].bias.flatten()
        context = context.clamp(min=0)
    t = matrix(block.out, context)[:, None]
    gate = 1 / (1 + torch.exp(-t))
    return {"add": x + t, "multiply": x * gate, "multiply_from_one": 2 * x * gate}[fusion]


@pytest.mark.parametrize(
    ("pooling", "transform", "norm", "fusion"),
    list(
        product(
            ("attention", "average"),
            ("bottleneck", "linear"),
            ("layer", "none"),
            ("add", "multiply", "multiply_from_one"),
        )
    ),
)
def test_block_is_its_formula(x: Tensor, awaken: Awaken, pooling, transform, norm, fusion) -> None:
    settings = {"pooling": pooling, "transform": transform, "norm": norm, "fusion": fusion}
    block = awaken(GlobalContext(CHANNELS, ratio=2, **settings)).double().eval()
    with torch.no_grad():
        expected = torch.stack([naive_clip(block, clip.flatten(1), **settings) for clip in x]).reshape(x.shape)
        torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-12)


def test_attention_is_the_pooling_map_for_every_query(x: Tensor, awaken: Awaken) -> None:
    block = awaken(GC(CHANNELS)).double().eval()
    affinity = torch.einsum("c,bcthw->bthw", block.mask.weight.flatten(), x) + block.mask.bias
    expected = affinity.flatten(1).softmax(dim=1).reshape(2, 1, *SIZE).expand(-1, 3, -1, -1, -1)
    torch.testing.assert_close(block.attention(x, torch.tensor([0, 31, 104])), expected)


def test_attention_of_an_average_is_uniform(x: Tensor) -> None:
    weights = SE(CHANNELS).attention(x.float(), torch.tensor([0, 104]))
    assert torch.equal(weights, torch.full((2, 2, *SIZE), 1 / 105))


def test_snl_is_attention_pooling_and_one_projection() -> None:
    block = SNL(CHANNELS)
    assert {name for name, _ in block.named_parameters()} == {"mask.weight", "mask.bias", "out.weight", "out.bias"}
    assert block.out.weight.shape[:2] == (CHANNELS, CHANNELS)
    assert block.fusion == "add"


@pytest.mark.parametrize(("channels", "ratio", "dim_inner"), [(64, 16, 4), (64, 4, 16), (11, 16, 1)])
def test_gc_narrows_by_its_ratio(channels: int, ratio: int, dim_inner: int) -> None:
    block = GC(channels, ratio=ratio)
    assert block.reduce[0].weight.shape[:2] == (dim_inner, channels)
    assert block.reduce[1].weight.shape == (dim_inner, 1, 1, 1)


def test_se_is_average_pooling_a_relu_bottleneck_and_a_gate(awaken: Awaken) -> None:
    block = awaken(SE(34)).double()
    x = draw(2, 34, *SIZE)
    hidden = F.relu(F.linear(x.mean(dim=(2, 3, 4)), block.reduce[0].weight.flatten(1), block.reduce[0].bias))
    assert hidden.shape[1] == 34 // 16
    gate = torch.sigmoid(F.linear(hidden, block.out.weight.flatten(1), block.out.bias))
    torch.testing.assert_close(block(x), x * gate[..., None, None, None], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fusion", ["add", "multiply", "multiply_from_one"])
def test_multiplication_as_published_starts_at_half(x: Tensor, fusion: str) -> None:
    block = GlobalContext(CHANNELS, fusion=fusion).double()
    start = 0.5 if fusion == "multiply" else 1.0
    assert torch.equal(block(x), start * x)
    assert block.identity_at_init == (start == 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pooling": "max"}, "attention, average; got 'max'"),
        ({"transform": "mlp"}, "bottleneck, linear; got 'mlp'"),
        ({"norm": "batch"}, "layer, none; got 'batch'"),
        ({"fusion": "mul"}, "add, multiply, multiply_from_one; got 'mul'"),
        ({"ratio": 0}, "ratio must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused_with_the_right_ones(options, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GlobalContext(CHANNELS, **options)


@pytest.mark.parametrize("block", [SNL, GC, SE])
@pytest.mark.parametrize("shape", [(0, CHANNELS, *SIZE), (2, CHANNELS, 5, 7)])
def test_empty_batches_and_other_ranks_are_refused(block, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, C, T, H, W\).*got shape"):
        block(CHANNELS)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("block", "after", "options", "millions"),
    [
        ("snl", FIVE, {}, 36.13),
        ("gc", FIVE, {"ratio": 4}, 34.30),
        ("gc", ALL, {"ratio": 4}, 42.45),
    ],
)
def test_parameters_are_those_of_the_published_table(block: str, after, options, millions: float) -> None:
    with torch.device("meta"):
        backbone = BACKBONES["slow_r50"](400)
        insert(backbone, [Insertion(block, after, options)])
    num_parameters = sum(parameter.numel() for parameter in backbone.network.parameters())
    assert num_parameters / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.shared
def test_block_agrees_with_a_public_implementation(load_golden) -> None:
    block = GlobalContext(8, ratio=4).double().eval()
    names = {
        "conv_mask": "mask",
        "channel_add_conv.0": "reduce.0",
        "channel_add_conv.1": "reduce.1",
        "channel_add_conv.3": "out",
    }
    golden = load_golden(block, "context_att_add", names)
    with torch.no_grad():
        z = block(golden["input0"].unsqueeze(2)).squeeze(2)
    assert (z - golden["output"]).abs().max() / golden["output"].abs().max() < 1e-10
