"""Clips that are too small for a network."""

import re

import pytest
import torch
from torch import nn

from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models import ClipClassifier, Execution
from videonl.profiling import profile_network, require_clip, training_memory
from videonl.training import ClipModule


@pytest.mark.parametrize(
    ("backbone", "options", "least"),
    [("i3d_r50", {}, 2), ("c2d_r50", {}, 2), ("slow_r50", {}, 1), ("i3d_r50", {"stride_profile": "long"}, 7)],
)
def test_the_least_number_of_frames_is_named_and_does(backbone: str, options: dict[str, str], least: int) -> None:
    network = ClipClassifier(backbone, 5, width=3, backbone_options=options).eval()
    require_clip(network, (least, 37, 37))
    with torch.inference_mode():
        assert network(torch.randn(1, 3, least, 37, 37)).shape == (1, 5)
    for few in range(1, least):
        with pytest.raises(UserError, match=f"num_frames must be at least {least} for this network, got {few}"):
            require_clip(network, (few, 37, 37))


def test_pixels_are_named_where_frames_do_not_help() -> None:
    network = nn.Sequential(nn.AvgPool3d((1, 13, 13)), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 5))
    with pytest.raises(UserError, match="crop_px must be at least 16 for this network, got 11"):
        require_clip(network, (7, 11, 11))


def test_frozen_parts_are_not_woken() -> None:
    network = nn.Sequential(nn.Conv3d(3, 5, 1), nn.BatchNorm3d(5).eval(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    before = [module.training for module in network.modules()]
    require_clip(network, (2, 7, 11))
    profile_network(network, {}, {}, (2, 7, 11))
    training_memory(network, (2, 7, 11))
    assert [module.training for module in network.modules()] == before == [True, True, False, True, True]


def test_the_network_is_left_as_it_was() -> None:
    network = ClipClassifier(
        "i3d_r50", 5, width=3, batch_norm="synchronized", execution=Execution(compile=True)
    ).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    require_clip(network, (8, 31, 31))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_python_refuses_it_too() -> None:
    network = ClipClassifier("i3d_r50", 2, width=3)
    with pytest.raises(UserError, match=re.escape("num_frames must be at least 2 for this network, got 1")):
        ClipModule(network, ["a", "b"], ClipFormat(num_frames=1, short_side_px=37, crop_px=37))


def test_frames_and_pixels_are_both_named_where_neither_does_alone() -> None:
    network = nn.Sequential(nn.AvgPool3d((5, 13, 13)), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 7))
    require_clip(network, (5, 16, 16))
    told = "num_frames must be at least 5, and crop_px at least 16, for this network, got 3 and 11"
    with pytest.raises(UserError, match=told):
        require_clip(network, (3, 11, 11))
