"""Heads that average windows, against pytorchvideo's own and against PySlowFast's, step by step."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones import build_backbone
from videonl.backbones.head import Head, MeanOfProbabilities, as_head, head_option
from videonl.backbones.window_pool import WindowPool
from videonl.errors import UserError

CHANNELS, CLASSES = 5, 7


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def head_of(option: object) -> nn.Module:
    """The head of a ResNet, with weights that tell classes apart."""
    head = build_backbone("c2d_r50", CLASSES, {"width": 1, "head": option}).network.blocks[-1].double().eval()
    head.proj = nn.Linear(CHANNELS, CLASSES).double()
    head.proj.load_state_dict({"weight": draw(CLASSES, CHANNELS), "bias": draw(CLASSES)})
    return head


@pytest.mark.parametrize("grid", [(4, 8, 8), (4, 8, 11), (4, 7, 7)], ids=["256", "256 x 352", "224"])
def test_windows_are_pytorchvideos_head(grid: tuple[int, int, int]) -> None:
    from pytorchvideo.models.head import create_res_basic_head

    ours = head_of("windows")
    theirs = create_res_basic_head(
        in_features=CHANNELS, out_features=CLASSES, pool=nn.AvgPool3d, pool_kernel_size=(4, 7, 7)
    )
    theirs.double().eval().proj.load_state_dict(ours.proj.state_dict())
    features = draw(2, CHANNELS, *grid)
    expected = theirs(features)
    assert (ours(features) - expected).abs().max() < 1e-10
    if grid != (4, 7, 7):
        assert (head_of("mean")(features) - expected).abs().max() > 1e-3


def pyslowfast(head: nn.Module, features: Tensor, window: int = 7) -> Tensor:
    """Its ``ResNetBasicHead`` in eval mode: pool at stride 1, project, softmax of each position, mean."""
    x = F.avg_pool3d(features, (features.shape[2], window, window), stride=1).permute(0, 2, 3, 4, 1)
    return (x @ head.proj.weight.T + head.proj.bias).softmax(dim=4).mean(dim=(1, 2, 3))


@pytest.mark.parametrize("grid", [(4, 8, 8), (4, 8, 11), (4, 7, 7)], ids=["256", "256 x 352", "224"])
def test_windows_softmax_is_pyslowfasts_head(grid: tuple[int, int, int]) -> None:
    head, features = head_of("windows_softmax"), 9 * draw(2, CHANNELS, *grid)
    expected = pyslowfast(head, features)
    assert (head(features).softmax(dim=1) - expected).abs().max() < 1e-10
    if grid != (4, 7, 7):
        assert (head_of("windows")(features).softmax(dim=1) - expected).abs().max() > 1e-3


def test_windows_follow_the_size_of_the_training() -> None:
    head, features = head_of({"window": 3, "averaged": "probabilities"}), draw(2, CHANNELS, 2, 5, 7)
    assert (head(features).softmax(dim=1) - pyslowfast(head, features, 3)).abs().max() < 1e-10


@pytest.mark.parametrize("option", ["windows", "windows_softmax"])
def test_one_window_gives_the_logits_of_the_mean(option: str) -> None:
    for grid in ((4, 7, 7), (2, 5, 3)):  # and smaller grids are one window
        features = draw(2, CHANNELS, *grid)
        assert (head_of(option)(features) - head_of("mean")(features)).abs().max() < 1e-12


@pytest.mark.parametrize("option", ["windows", "windows_softmax"])
def test_large_logits_stay_finite(option: str) -> None:
    logits = head_of(option)(1e4 * draw(2, CHANNELS, 2, 8, 9))
    assert logits.isfinite().all()


def test_windows_have_gradients() -> None:
    assert torch.autograd.gradcheck(MeanOfProbabilities(), draw(2, 3, 1, 2, 5).requires_grad_())


def test_options_are_named_and_read_back() -> None:
    for head in (Head(), Head(7), Head(7, "probabilities"), Head(3), Head(3, "probabilities")):
        assert as_head(head_option(head)) == head
    assert head_option(Head(7, "probabilities")) == "windows_softmax"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("window", "head must be one of mean, windows, windows_softmax; got 'window'"),
        ({"size": 7}, "head has no 'size'; it has: window, averaged"),
        ({"window": 0}, "window must be at least 1 or null, got 0"),
        ({"averaged": "votes"}, "averaged must be one of logits, probabilities; got 'votes'"),
    ],
)
def test_heads_that_there_are_not(option: object, message: str) -> None:
    with pytest.raises(UserError) as refused:
        build_backbone("c2d_r50", CLASSES, {"width": 1, "head": option})
    assert message in str(refused.value)


def test_an_axis_without_a_length_is_one_window() -> None:
    assert WindowPool((None, 2, 3))(draw(2, 3, 5, 7, 11)).shape == (2, 3, 1, 6, 9)
