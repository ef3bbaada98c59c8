"""Inflated 2D weights: a still video gets the answer of torchvision's 2D network."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from videonl.backbones import BACKBONES, inflate
from videonl.errors import UserError


@pytest.fixture(scope="module")
def network_2d() -> nn.Module:
    torch.manual_seed(3)
    network = resnet50(weights=None).double().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.0)
                module.bias.normal_(std=0.1)
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def frame() -> Tensor:
    return torch.randn(1, 3, 37, 41, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def features_2d(network: nn.Module, frame: Tensor) -> Tensor:
    with torch.no_grad():
        return nn.Sequential(*list(network.children())[:-2])(frame)


def features_3d(name: str, network_2d: nn.Module, how: str, clip: Tensor) -> Tensor:
    backbone = BACKBONES[name](7)
    network = backbone.network.double().eval()
    network.load_state_dict(inflate(network_2d.state_dict(), backbone, how).state, strict=False)
    with torch.no_grad():
        return nn.Sequential(*network.blocks[:-1])(clip)


def still(frame: Tensor, num_frames: int) -> Tensor:
    return frame.unsqueeze(2).expand(-1, -1, num_frames, -1, -1)


def assert_frames_equal(features: Tensor, expected: Tensor) -> None:
    assert expected.std() > 1e-2
    torch.testing.assert_close(features, expected.unsqueeze(2).expand_as(features), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "how"), [("c2d_r50", "repeat"), ("i3d_r50", "center"), ("slow_r50", "center")])
def test_still_video_has_the_features_of_its_frame(name: str, how: str, network_2d: nn.Module, frame: Tensor) -> None:
    features = features_3d(name, network_2d, how, still(frame, 5))
    assert features.shape[2] == (5 if name == "slow_r50" else 2)
    assert_frames_equal(features, features_2d(network_2d, frame))


def test_repeated_kernels_agree_where_no_zero_frame_is_in_sight(network_2d: nn.Module, frame: Tensor) -> None:
    """I3D's stem and res2 see 5 frames to each side, which halve to 3; res3 to res5 see 2 + 3 + 1 more."""
    features = features_3d("i3d_r50", network_2d, "repeat", still(frame[..., :32, :32], 41))
    expected = features_2d(network_2d, frame[..., :32, :32])
    assert features.shape[2] == 20
    assert_frames_equal(features[:, :, 9:11], expected)
    difference = (features - expected.unsqueeze(2)).abs().amax(dim=(0, 1, 3, 4))
    assert difference[0] > 1e-3 and difference[-1] > 1e-3


def test_what_is_left_over_is_named(network_2d: nn.Module) -> None:
    with torch.device("meta"):
        backbone = BACKBONES["i3d_r50"](7)
    report = inflate(network_2d.state_dict(), backbone)
    assert report.unused == ["fc.weight", "fc.bias"]
    assert report.missing == ["blocks.6.proj.weight", "blocks.6.proj.bias"]
    # The stem, 3 of res2, 2 of res3, 3 of res4 and 1 of res5.
    assert len(report.widened) == 10
    assert report.widened[0] == "blocks.0.conv.weight"
    assert all(key.endswith("conv_a.weight") for key in report.widened[1:])
    with torch.device("meta"):
        assert inflate(network_2d.state_dict(), BACKBONES["c2d_r50"](7)).widened == []


@pytest.mark.parametrize("how", ["repeat", "center"])
def test_kernels_sum_to_the_2d_kernel(network_2d: nn.Module, how: str) -> None:
    with torch.device("meta"):
        backbone = BACKBONES["i3d_r50"](7)
    weights = network_2d.state_dict()
    kernel = inflate(weights, backbone, how).state["blocks.0.conv.weight"]
    assert kernel.shape[2] == 5
    torch.testing.assert_close(kernel.sum(dim=2), weights["conv1.weight"], rtol=1e-12, atol=1e-12)
    assert torch.equal(kernel[:, :, 0], kernel[:, :, 2]) == (how == "repeat")


def test_weights_that_do_not_fit_are_refused(network_2d: nn.Module) -> None:
    with torch.device("meta"):
        narrow, i3d = BACKBONES["c2d_r50"](7, width=16), BACKBONES["i3d_r50"](7)
    with pytest.raises(UserError, match=r"blocks.0.conv.weight is \(16, 3, 1, 7, 7\), the weights \(64, 3, 1, 7, 7\)"):
        inflate(network_2d.state_dict(), narrow)
    with pytest.raises(UserError, match="none of the weights are those of a torchvision ResNet"):
        inflate({"features.0.weight": torch.ones(3)}, i3d)
    with pytest.raises(UserError, match="repeat, center; got 'spread'"):
        inflate(network_2d.state_dict(), i3d, "spread")


def test_the_given_weights_are_not_shared(network_2d: nn.Module) -> None:
    with torch.device("meta"):
        backbone = BACKBONES["c2d_r50"](7)
    weights = network_2d.state_dict()
    state = inflate(weights, backbone).state
    assert {value.data_ptr() for value in state.values()}.isdisjoint(value.data_ptr() for value in weights.values())
