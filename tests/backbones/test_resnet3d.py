"""C2D, I3D and Slow against the published table and pytorchvideo's own builders."""

from collections.abc import Callable

import pytest
import torch
from pytorchvideo.models import hub
from torch import nn

from videonl.backbones import BACKBONES, Backbone
from videonl.backbones.resnet3d import RESNETS
from videonl.blocks import NonLocal
from videonl.errors import UserError

NAMES_R50 = ["c2d_r50", "i3d_r50", "slow_r50"]
FIVE_BLOCKS_R50 = {"res3": 2, "res4": 3}
POINT, TEMPORAL = (1, 1, 1), (3, 1, 1)


def shapes_only(name: str, num_classes: int = 400) -> Backbone:
    with torch.device("meta"):
        return BACKBONES[name](num_classes)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def randomize() -> Callable[[nn.Module], None]:
    def fill(network: nn.Module) -> None:
        """Norms too: pytorchvideo starts the last gamma of every residual at 0, which hides what stands before it."""
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
                    module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
                    module.running_mean.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
                    module.running_var.copy_(torch.rand(module.bias.shape, generator=generator) + 0.5)

    return fill


@pytest.mark.parametrize(
    ("name", "expected"), [("c2d_r50", 24_327_632), ("i3d_r50", 28_043_472), ("slow_r50", 32_454_096)]
)
def test_parameter_counts_are_the_published_ones(name: str, expected: int) -> None:
    assert count(shapes_only(name).network) == expected


@pytest.mark.parametrize(
    ("name", "millions"), [("c2d_r50", 31.69), ("i3d_r50", 35.40), ("slow_r50", 39.81), ("i3d_r101", 59.11)]
)
def test_parameter_counts_with_five_blocks_are_the_published_ones(name: str, millions: float) -> None:
    with torch.device("meta"):
        blocks = [NonLocal(channels) for channels in (512, 512, 1024, 1024, 1024)]
    added = sum(map(count, blocks))
    assert added == 7_358_464
    assert (count(shapes_only(name).network) + added) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("name", sorted(RESNETS))
def test_stages_name_every_residual_in_order(name: str) -> None:
    backbone = shapes_only(name)
    num_res4 = 23 if name.endswith("101") else 6
    lengths = {stage: len(paths) for stage, paths in backbone.stages.items()}
    assert list(lengths.items()) == [("res2", 3), ("res3", 4), ("res4", num_res4), ("res5", 3)]
    named = [path for paths in backbone.stages.values() for path in paths]
    in_network = [path for path, module in backbone.network.named_modules() if type(module).__name__ == "ResBlock"]
    assert named == in_network


CONV_A = {
    "c2d": ([POINT] * 3, [POINT] * 4, [POINT] * 6, [POINT] * 3),
    "i3d": ([TEMPORAL] * 3, [TEMPORAL, POINT] * 2, [TEMPORAL, POINT] * 3, [POINT, TEMPORAL, POINT]),
    "slow": ([POINT] * 3, [POINT] * 4, [TEMPORAL] * 6, [TEMPORAL] * 3),
}


@pytest.mark.parametrize(("family", "stem"), [("c2d", (1, 7, 7)), ("i3d", (5, 7, 7)), ("slow", (1, 7, 7))])
def test_kernels_are_those_of_the_table(family: str, stem: tuple[int, int, int]) -> None:
    backbone = shapes_only(f"{family}_r50")
    kernels = {
        stage: [tuple(backbone.network.get_submodule(path).branch2.conv_a.kernel_size) for path in paths]
        for stage, paths in backbone.stages.items()
    }
    assert tuple(kernels.values()) == CONV_A[family]
    assert tuple(backbone.network.blocks[0].conv.kernel_size) == stem


@pytest.mark.parametrize(("name", "num_frames"), [("c2d_r50", 4), ("i3d_r50", 4), ("slow_r50", 8)])
def test_only_c2d_and_i3d_halve_the_frames_after_res2(name: str, num_frames: int) -> None:
    backbone = shapes_only(name)
    shapes = []
    last = backbone.network.get_submodule(backbone.stages["res5"][-1])
    last.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    backbone.network(torch.empty(1, 3, 8, 224, 224, device="meta"))
    assert shapes == [(1, 2048, num_frames, 7, 7)]


@pytest.mark.parametrize("name", NAMES_R50)
def test_keys_and_shapes_are_those_of_the_hub_checkpoints(name: str) -> None:
    with torch.device("meta"):
        public = getattr(hub, name)(pretrained=False)
    ours = shapes_only(name).network.state_dict()
    assert [(key, value.shape) for key, value in ours.items()] == [
        (key, value.shape) for key, value in public.state_dict().items()
    ]


@pytest.mark.parametrize("name", NAMES_R50)
def test_logits_are_those_of_the_hub_network(name: str, randomize: Callable[[nn.Module], None]) -> None:
    """At 8x224x224, where the hub's fixed head pool spans the whole grid; an eighth of the width to be quick."""
    torch.manual_seed(3)
    public = getattr(hub, name)(pretrained=False, stem_dim_out=8, model_num_class=11).eval()
    randomize(public.double())
    ours = BACKBONES[name](11, width=8).network.double().eval()
    ours.load_state_dict(public.state_dict())
    clip = torch.randn(1, 3, 8, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        expected, logits = public(clip), ours(clip)
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [(2, 1, 1), (3, 31, 37), (5, 64, 32)])
@pytest.mark.parametrize("name", NAMES_R50)
def test_any_clip_of_two_frames_or_more_gives_logits(name: str, size: tuple[int, int, int]) -> None:
    network = BACKBONES[name](11, width=4).network.eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 11)
    assert logits.isfinite().all()


def test_every_width_follows_that_of_the_stem() -> None:
    backbone = BACKBONES["i3d_r50"](7, width=16)
    assert backbone.network.blocks[0].conv.out_channels == 16
    outputs = [
        backbone.network.get_submodule(paths[-1]).branch2.conv_c.out_channels for paths in backbone.stages.values()
    ]
    assert outputs == [64, 128, 256, 512]


def test_i3d_of_width_16_has_1_7_million_parameters_beside_its_head() -> None:
    network = BACKBONES["i3d_r50"](400, width=16).network
    assert (count(network) - count(network.blocks[-1])) / 1e6 == pytest.approx(1.7, abs=0.05)


def test_dropout_is_as_asked() -> None:
    rates = [m.p for m in BACKBONES["slow_r50"](7, width=4, dropout=0.3).network.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.3]


def test_heads_return_logits_and_not_probabilities() -> None:
    network = BACKBONES["slow_r50"](7, width=4).network
    with torch.no_grad():
        for training in (True, False):
            sums = network.train(training)(torch.randn(2, 3, 3, 32, 32)).exp().sum(dim=1)
            assert (sums - 1).abs().min() > 0.1


# Frames at the stem's end, and of res3 to res5, for 33 frames.
@pytest.mark.parametrize(
    ("profile", "stem_frames", "res3_frames"), [("short", 33, 16), ("long", 8, 4), ("mmaction2", 9, 4)]
)
def test_stride_profiles_thin_out_the_frames(profile: str, stem_frames: int, res3_frames: int) -> None:
    with torch.device("meta"):
        backbone = BACKBONES["i3d_r50"](7, width=4, stride_profile=profile)
        plain = BACKBONES["i3d_r50"](7, width=4)
    shapes = []
    for path in ("blocks.0", backbone.stages["res3"][-1]):
        backbone.network.get_submodule(path).register_forward_hook(lambda *seen: shapes.append(seen[2].shape[2]))
    backbone.network(torch.empty(1, 3, 33, 64, 64, device="meta"))
    assert shapes == [stem_frames, res3_frames]
    # Weights do not tell which profile they were trained with.
    assert [(key, value.shape) for key, value in backbone.network.state_dict().items()] == [
        (key, value.shape) for key, value in plain.network.state_dict().items()
    ]


def test_the_long_pool_takes_pairs_of_frames_and_mmaction2_drops_every_other() -> None:
    """Frame t of the stem's output is 10 t; the convolution keeps every other frame."""
    clip = 10.0 * torch.arange(8).reshape(1, 1, 8, 1, 1).expand(1, 3, 8, 5, 5)
    expected = {"long": [20.0, 60.0], "mmaction2": [0.0, 40.0]}
    for profile, frames in expected.items():
        stem = BACKBONES["c2d_r50"](7, width=1, stride_profile=profile).network.blocks[0]
        with torch.no_grad():
            stem.conv.weight.zero_()[0, 0, 0, 3, 3] = 1
        stem.norm = nn.Identity()
        assert stem(clip)[0, 0, :, 0, 0].tolist() == frames


def test_an_unknown_stride_profile_is_refused() -> None:
    with pytest.raises(UserError, match="short, long, mmaction2; got 'longer'"):
        BACKBONES["i3d_r50"](7, stride_profile="longer")
