"""Rows of a profile: what belongs to which part, and that nothing is lost."""

import pytest
import torch
from torch import Tensor, nn

from videonl.backbones import BACKBONES
from videonl.models import ClipClassifier, Insertion
from videonl.profiling import Row, profile_network

FIVE = [Insertion("nonlocal", {"res3": [1, 3], "res4": [1, 3, 5]})]


class Small(nn.Module):
    """A stem, two stages with a projection between them, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 5, 1, bias=False)
        self.low = nn.ModuleList([nn.Conv3d(5, 5, 1), nn.Conv3d(5, 7, 1)])
        self.between = nn.Conv3d(7, 11, 1, bias=False)
        self.high = nn.Conv3d(11, 13, 1, stride=2)
        self.head = nn.Linear(13, 17)
        self.spare = nn.Linear(2, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.low[1](self.low[0](self.stem(x)))
        return self.head(self.high(self.between(x)).mean(dim=(2, 3, 4)))


def test_every_part_has_what_it_uses() -> None:
    n = 3 * 4 * 6
    rows = profile_network(Small(), {"low": ["low.0", "low.1"], "high": ["high"]}, {}, (3, 4, 6))
    assert rows == [
        Row("stem", None, (5, 3, 4, 6), 15, n * 15),
        Row("low", None, (7, 3, 4, 6), 30 + 42, n * (25 + 35)),
        Row("high", None, (13, 2, 2, 3), 77 + 156, n * 77 + 12 * 143),
        Row("head", None, (17,), 238, 221),
        Row("not run", None, (), 6, 0),
    ]


def test_a_network_without_stages_has_its_modules_as_parts() -> None:
    n = 3 * 4 * 6
    rows = profile_network(Small(), {}, {}, (3, 4, 6))
    assert rows == [
        Row("stem", None, (5, 3, 4, 6), 15, n * 15),
        Row("low.0", None, (5, 3, 4, 6), 30, n * 25),
        Row("low.1", None, (7, 3, 4, 6), 42, n * 35),
        Row("between", None, (11, 3, 4, 6), 77, n * 77),
        Row("high", None, (13, 2, 2, 3), 156, 12 * 143),
        Row("head", None, (17,), 238, 221),
        Row("not run", None, (), 6, 0),
    ]
    wrapped = profile_network(nn.Sequential(Small()), {}, {}, (3, 4, 6))
    assert [row.name for row in wrapped] == [*(f"0.{row.name}" for row in rows[:-1]), "not run"]


def test_a_network_of_parameters_alone_is_one_part() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 5))

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(2, 3, 4)) @ self.weight

    assert profile_network(Bare(), {}, {}, (2, 3, 5)) == [Row("network", None, (5,), 15, 15)]


def test_parts_of_networks_of_the_libraries() -> None:
    from_path = {"input_clip_length": 4, "input_crop_size": 64, "head_activation": None}
    with torch.device("meta"):
        x3d = ClipClassifier("pytorchvideo.models.x3d.create_x3d", 7, backbone_options=from_path)
        mvit = ClipClassifier(
            "torchvision.models.video.mvit_v2_s", 7, backbone_options={"num_classes_argument": "num_classes"}
        )
    rows = profile_network(x3d.network, {}, {}, (4, 64, 64))
    assert [row.name for row in rows] == [f"blocks.{number}" for number in range(6)]
    assert rows[-1].output == (7,)
    # Its modules give the grid of the tokens beside them.
    rows = profile_network(mvit.network, {}, {}, (16, 224, 224))
    names = [row.name for row in rows if row.name != "not run"]
    assert names == ["conv_proj", "pos_encoding", *(f"blocks.{number}" for number in range(16)), "norm", "head"]


@pytest.mark.parametrize("name", ["i3d_r50", "i3d_inception", "r2plus1d_18", "s3d"])
def test_parts_sum_to_the_network(name: str) -> None:
    with torch.device("meta"):
        network = BACKBONES[name](11)
    rows = profile_network(network.network, network.stages, {}, (8, 64, 64))
    assert [row.name for row in rows] == ["stem", *network.stages, "head"]
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in network.network.parameters())
    assert rows[-1].output == (11,)


def test_blocks_have_rows_of_their_own() -> None:
    with torch.device("meta"):
        plain, extended = ClipClassifier("i3d_r50", 400), ClipClassifier("i3d_r50", 400, FIVE)
    before = profile_network(plain.network, plain.stages, plain.blocks, (8, 224, 224))
    after = profile_network(extended.network, extended.stages, extended.blocks, (8, 224, 224))
    assert [row for row in after if row.block is None] == before
    blocks = [row for row in after if row.block is not None]
    assert [row.name for row in blocks] == ["res3.1", "res3.3", "res4.1", "res4.3", "res4.5"]
    assert sum(row.parameters for row in blocks) == 7_358_464
    assert [row.output for row in blocks] == [(512, 4, 28, 28)] * 2 + [(1024, 4, 14, 14)] * 3


def test_the_network_is_left_as_it_was() -> None:
    network = ClipClassifier("r3d_18", 7, [Insertion("gc", {"res4": [1]})])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    profile_network(network.network, network.stages, network.blocks, (4, 32, 32))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
    assert all(module.training for module in network.modules())
