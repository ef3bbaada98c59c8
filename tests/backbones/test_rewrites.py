"""Rewritten networks compute the numbers and gradients of the plain ones, whatever the layer and its size."""

import copy
import pickle
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torchvision.models.video import mc3_18, r2plus1d_18

from videonl.backbones import BACKBONES
from videonl.backbones.rewrites import (
    FrameConv3d,
    FrameMaxPool3d,
    ResidualSum,
    TimeConv3d,
    run_frames_in_2d,
    run_out_of_place,
)

LAYOUTS = [torch.channels_last_3d, torch.contiguous_format]
CONVS: dict[str, Callable[[], nn.Module]] = {
    "point": lambda: nn.Conv3d(6, 4, 1),
    "3 x 3": lambda: nn.Conv3d(6, 4, (1, 3, 3), padding=(0, 1, 1), bias=False),
    "strided": lambda: nn.Conv3d(6, 4, (1, 3, 2), stride=(1, 2, 3), padding=(0, 1, 0)),
    "over time too": lambda: nn.Conv3d(6, 4, (1, 1, 3), stride=(2, 2, 1)),
    "depthwise": lambda: nn.Conv3d(6, 6, (1, 3, 3), groups=6, padding=(0, 1, 1)),
    "grouped": lambda: nn.Conv3d(6, 4, (1, 5, 3), groups=2, padding=(0, 2, 1)),
    "dilated": lambda: nn.Conv3d(6, 4, (1, 3, 3), dilation=(3, 2, 2), padding=(0, 2, 1)),
    "same": lambda: nn.Conv3d(6, 4, (1, 3, 5), padding="same"),
    "one channel": lambda: nn.Conv3d(6, 1, (1, 3, 3)),
}
TIME_CONVS: dict[str, Callable[[], nn.Module]] = {
    "3": lambda: nn.Conv3d(6, 4, (3, 1, 1), padding=(1, 0, 0), bias=False),
    "strided": lambda: nn.Conv3d(6, 4, (2, 1, 1), stride=(3, 1, 1)),
    "grouped": lambda: nn.Conv3d(6, 4, (5, 1, 1), groups=2, padding=(2, 0, 0)),
    "dilated": lambda: nn.Conv3d(6, 4, (3, 1, 1), dilation=(2, 3, 1)),
    "same": lambda: nn.Conv3d(6, 4, (3, 1, 1), padding="same"),
}
POOLS: dict[str, Callable[[], nn.Module]] = {
    "2 x 2": lambda: nn.MaxPool3d((1, 2, 2)),
    "stem": lambda: nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
    "over time too": lambda: nn.MaxPool3d((1, 3, 2), stride=(2, 1, 3), ceil_mode=True),
    "dilated": lambda: nn.MaxPool3d((1, 2, 2), stride=1, dilation=(3, 2, 1)),
    "point": lambda: nn.MaxPool3d(1, stride=2),
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "over time, padded in space": lambda: nn.Conv3d(6, 4, (3, 1, 1), padding=1),
    "over time, strided in space": lambda: nn.Conv3d(6, 4, (3, 1, 1), stride=2),
    "padded in time": lambda: nn.Conv3d(6, 4, 1, padding=1),
    "reflecting": lambda: nn.Conv3d(6, 4, (1, 3, 3), padding=(0, 1, 1), padding_mode="reflect"),
    "parametrized": lambda: parametrize.register_parametrization(nn.Conv3d(6, 4, (1, 3, 3)), "weight", nn.Tanh()),
    "pool over time": lambda: nn.MaxPool3d((2, 1, 1)),
    "pool with indices": lambda: nn.MaxPool3d((1, 2, 2), return_indices=True),
}


def features(layout: torch.memory_format, size: Sequence[int] = (2, 6, 5, 11, 7)) -> Tensor:
    x = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return x.round(decimals=1).contiguous(memory_format=layout)  # rounded, so that pools meet ties


def results(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, and the gradients with respect to input and parameters."""
    x = x.detach().requires_grad_()
    y = module(x)
    towards = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
    return [y, *torch.autograd.grad(y, [x, *module.parameters()], towards)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", [*CONVS, *(f"time {name}" for name in TIME_CONVS)])
def test_convolutions_over_frames_and_over_time(name: str, layout: torch.memory_format) -> None:
    torch.manual_seed(3)
    over_time = name.startswith("time ")
    plain = (TIME_CONVS[name.removeprefix("time ")] if over_time else CONVS[name])().double().to(memory_format=layout)
    rewritten = copy.deepcopy(plain)
    run_frames_in_2d(rewritten)
    assert type(rewritten) is (TimeConv3d if over_time else FrameConv3d)
    x = features(layout)
    for ours, expected in zip(results(rewritten, x), results(plain, x), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    assert rewritten(x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", POOLS)
def test_pools_over_frames_choose_the_same_of_equals(name: str, layout: torch.memory_format) -> None:
    plain = POOLS[name]()
    rewritten = copy.deepcopy(plain)
    run_frames_in_2d(rewritten)
    assert type(rewritten) is FrameMaxPool3d
    for ours, expected in zip(results(rewritten, features(layout)), results(plain, features(layout)), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("size", [(1, 6, 1, 1, 1), (3, 6, 1, 5, 3), (1, 6, 7, 1, 3)])
def test_any_grid(size: tuple[int, ...]) -> None:
    plain = nn.Conv3d(6, 4, (1, 3, 3), padding=(0, 1, 1)).double()
    rewritten = copy.deepcopy(plain)
    run_frames_in_2d(rewritten)
    for layout in LAYOUTS:
        torch.testing.assert_close(rewritten(features(layout, size)), plain(features(layout, size)))


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_stay_what_they_are(name: str) -> None:
    module = OTHERS[name]()
    before = type(module)
    run_frames_in_2d(module)
    assert type(module) is before


def test_a_clip_without_a_batch_runs_as_before() -> None:
    conv = nn.Conv3d(3, 5, (1, 3, 3))
    clip = torch.randn(3, 2, 7, 11)
    expected = conv(clip)
    run_frames_in_2d(conv)
    assert torch.equal(conv(clip), expected)


@pytest.mark.parametrize("build", [mc3_18, r2plus1d_18])
def test_torchvision_networks_are_rewritten_too(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(3)
    plain = build(num_classes=7).eval()
    rewritten = copy.deepcopy(plain)
    run_frames_in_2d(rewritten)
    assert sum(isinstance(module, FrameConv3d) for module in rewritten.modules()) > 10
    assert list(rewritten.state_dict()) == list(plain.state_dict())
    clip = torch.randn(1, 3, 3, 31, 37).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        torch.testing.assert_close(rewritten(clip), plain(clip), rtol=1e-5, atol=1e-5)


def test_bfloat16_under_autocast() -> None:
    conv = nn.Conv3d(6, 4, (1, 3, 3)).to(memory_format=torch.channels_last_3d)
    x = features(torch.channels_last_3d).float()
    with torch.autocast("cpu", torch.bfloat16):
        expected = conv(x)
        run_frames_in_2d(conv)
        rewritten = conv(x)
    assert rewritten.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(rewritten, expected)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float32), (torch.float32, torch.bfloat16)])
def test_residual_sum_overwrites_the_branch_only_where_that_rounds_alike(dtypes: tuple[torch.dtype, ...]) -> None:
    shortcut, branch = torch.randn(2, 3, 5).to(dtypes[0]), torch.randn(2, 3, 5).to(dtypes[1])
    expected = shortcut + branch
    z = ResidualSum()(shortcut, branch)
    assert torch.equal(z, expected) and z.dtype == expected.dtype
    assert (z.data_ptr() == branch.data_ptr()) == (dtypes[0] == dtypes[1])


def test_resnets_run_in_place_unless_told_otherwise() -> None:
    torch.manual_seed(3)
    network = BACKBONES["i3d_r50"](7, width=4, dropout=0.0).network.double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.constant_(module.weight, 0.7)
    kept = copy.deepcopy(network)
    run_out_of_place(kept)
    in_place = [module for module in network.modules() if getattr(module, "inplace", False)]
    assert len(in_place) == 1 + 16 * 4  # stem; three activations and a sum in each of 16 residuals
    assert not any(getattr(module, "inplace", False) for module in kept.modules())
    x = torch.randn(2, 3, 3, 31, 37, dtype=torch.float64)
    for ours, expected in zip(results(network, x), results(kept, x), strict=True):
        assert torch.equal(ours, expected)


def test_copies_and_pickles_keep_the_class() -> None:
    network = nn.Sequential(nn.Conv3d(3, 5, (1, 3, 3)), nn.MaxPool3d((1, 2, 2)))
    run_frames_in_2d(network)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert [type(module) for module in twin] == [FrameConv3d, FrameMaxPool3d]
