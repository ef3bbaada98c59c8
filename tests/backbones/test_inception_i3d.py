"""Inception I3D: the port's keys and count, SAME padding against plain formulas, clips of any size."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones import BACKBONES
from videonl.backbones.inception_i3d import MIXED, InceptionI3D, SamePool, Unit

MODULES = ["b0", "b1a", "b1b", "b2a", "b2b", "b3b"]


def same_windows(size: int, kernel: int, stride: int) -> list[list[int]]:
    """TensorFlow's definition, naively: the indices that each window of an axis covers, those outside left out."""
    num_windows = (size + stride - 1) // stride
    overhang = (num_windows - 1) * stride + kernel - size
    first = -(overhang // 2) if overhang > 0 else 0
    starts = [first + place * stride for place in range(num_windows)]
    return [[index for index in range(start, start + kernel) if 0 <= index < size] for start in starts]


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13])
def test_same_padding_covers_the_windows_of_the_formula(size: int, kernel: int, stride: int) -> None:
    """Convolved with ones, a window sums what it covers; pooled, it has its largest value."""
    values = torch.arange(1.0, size + 1).double() ** 2
    windows = same_windows(size, kernel, stride)
    for axis in (2, 3, 4):
        shape = [1] * 5
        shape[axis] = size
        sizes, strides = [1, 1, 1], [1, 1, 1]
        sizes[axis - 2], strides[axis - 2] = kernel, stride
        unit = Unit(1, 1, tuple(sizes), tuple(strides), last=True).double()
        nn.init.ones_(unit.conv3d.weight)
        nn.init.zeros_(unit.conv3d.bias)
        x = values.reshape(shape)
        assert unit(x).flatten().tolist() == [sum(values[window]) for window in windows]
        pooled = SamePool(tuple(sizes), tuple(strides))(x)
        assert pooled.flatten().tolist() == [max(values[window]) for window in windows]


def test_convolution_is_that_of_an_asymmetric_pad() -> None:
    """The stem on even and odd sizes: 2 zeros before and 3 after an even axis, 3 and 3 around an odd one."""
    unit = Unit(3, 5, (7, 7, 7), (2, 2, 2)).double().eval()
    x = torch.randn(2, 3, 4, 11, 8, dtype=torch.float64)
    expected = F.conv3d(F.pad(x, (2, 3, 3, 3, 2, 3)), unit.conv3d.weight, stride=2)
    expected = F.relu(expected / (1 + 0.001) ** 0.5)  # running mean 0 and variance 1
    torch.testing.assert_close(unit(x), expected, rtol=1e-12, atol=1e-12)


def test_parameters_are_those_of_the_port() -> None:
    """Counted from the published table of widths: weights of every convolution, and two numbers per norm."""
    convs = [(3, 64, 343), (64, 64, 1), (64, 192, 27)]
    channels = 192
    for one, reduce_1, three_1, reduce_2, three_2, projection in MIXED.values():
        convs += [(channels, one, 1), (channels, reduce_1, 1), (reduce_1, three_1, 27)]
        convs += [(channels, reduce_2, 1), (reduce_2, three_2, 27), (channels, projection, 1)]
        channels = one + three_1 + three_2 + projection
    expected = sum(inputs * outputs * taps + 2 * outputs for inputs, outputs, taps in convs) + (channels + 1) * 400
    with torch.device("meta"):
        network = BACKBONES["i3d_inception"](400).network
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 12_697_264


def test_keys_are_those_of_the_port() -> None:
    with torch.device("meta"):
        keys = set(BACKBONES["i3d_inception"](400).network.state_dict())
    units = ["Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"]
    units += [
        f"Mixed_{level}.{module}"
        for level in ("3b", "3c", *("4" + c for c in "bcdef"), "5b", "5c")
        for module in MODULES
    ]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"{unit}.conv3d.weight" for unit in units} | {f"{unit}.bn.{name}" for unit in units for name in norm}
    assert keys == expected | {"logits.conv3d.weight", "logits.conv3d.bias"}


def test_norms_are_those_of_the_port() -> None:
    norms = [module for module in InceptionI3D(7, 0.5).modules() if isinstance(module, nn.BatchNorm3d)]
    assert len(norms) == 57
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.001, 0.01)}


def test_grids_are_those_of_figure_3() -> None:
    with torch.device("meta"):
        backbone = BACKBONES["i3d_inception"](400)
    shapes = {}
    for stage, paths in backbone.stages.items():
        hook = lambda module, inputs, output, stage=stage: shapes.update({stage: tuple(output.shape)})  # noqa: E731  # binds stage
        backbone.network.get_submodule(paths[-1]).register_forward_hook(hook)
    backbone.network(torch.empty(1, 3, 64, 224, 224, device="meta"))
    assert shapes == {"mixed_3": (1, 480, 32, 28, 28), "mixed_4": (1, 832, 16, 14, 14), "mixed_5": (1, 1024, 8, 7, 7)}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    return BACKBONES["i3d_inception"](11).network.eval()


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 31, 37), (17, 33, 65)])
def test_any_clip_gives_logits(network: nn.Module, size: tuple[int, int, int]) -> None:
    with torch.no_grad():
        logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 11) and logits.isfinite().all()


def test_logits_are_averaged_over_windows_of_two_frames(network: nn.Module) -> None:
    features: list[Tensor] = []
    hook = network.get_submodule("Mixed_5c").register_forward_hook(lambda *seen: features.append(seen[2]))
    with torch.no_grad():
        logits = network(torch.randn(1, 3, 20, 40, 70))
    hook.remove()
    (x,) = features
    assert x.shape == (1, 1024, 3, 2, 3)
    # The first and the last frame are in one window of two, the middle one in both.
    pooled = (x.mean(dim=(3, 4)) * torch.tensor([0.25, 0.5, 0.25])).sum(dim=2)
    head = network.logits.conv3d
    expected = F.linear(pooled, head.weight.flatten(1), head.bias)
    torch.testing.assert_close(logits, expected)


def test_every_branch_reads_the_input_of_its_module(network: nn.Module) -> None:
    mixed = network.Mixed_3b
    x = torch.randn(1, 192, 3, 5, 7).relu()
    with torch.no_grad():
        pooled = F.max_pool3d(x, 3, 1, padding=1)
        b1, b2 = mixed.b1b(mixed.b1a(x)), mixed.b2b(mixed.b2a(x))
        torch.testing.assert_close(mixed(x), torch.cat([mixed.b0(x), b1, b2, mixed.b3b(pooled)], dim=1))
    assert [branch.shape[1] for branch in (b1, b2)] == [128, 32]
