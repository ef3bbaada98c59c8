"""Backbones from plain data: by name, by dotted path, and every mistake in words."""

import sys
from pathlib import Path

import pytest
import torch
from pytorchvideo.models.x3d import create_x3d
from torch import nn

from videonl.backbones import BACKBONES, build_backbone
from videonl.errors import UserError

X3D = "pytorchvideo.models.x3d.create_x3d"
LOGITS = {"head_activation": None}
OWN = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_outputs, width=5):
        super().__init__()
        self.conv = nn.Conv3d(3, width, 1)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, clip):
        return self.head(self.conv(clip).mean(dim=(2, 3, 4)))


def no_network(num_classes):
    return num_classes


NUMBER = 7
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    return "my_networks"


def refusal(*arguments: object) -> str:
    with torch.device("meta"), pytest.raises(UserError) as caught:
        build_backbone(*arguments)
    return str(caught.value)


def test_x3d_by_dotted_path_is_pytorchvideos() -> None:
    options = {"input_clip_length": 5, "input_crop_size": 64, "head_activation": None}
    torch.manual_seed(3)
    ours = build_backbone(X3D, 11, options, {"res2": [f"blocks.1.res_blocks.{index}" for index in range(3)]})
    torch.manual_seed(3)
    public = create_x3d(model_num_class=11, **options)
    clip = torch.randn(2, 3, 5, 64, 64)
    assert torch.equal(ours.network.eval()(clip), public.eval()(clip))
    assert ours.network(clip).shape == (2, 11)
    assert ours.stages == {"res2": ("blocks.1.res_blocks.0", "blocks.1.res_blocks.1", "blocks.1.res_blocks.2")}


def test_a_class_of_ones_own_with_a_name_for_the_classes(own_module: str) -> None:
    built = build_backbone(f"{own_module}.Net", 11, {"num_classes_argument": "num_outputs", "width": 7})
    assert built.network(torch.randn(2, 3, 3, 5, 7)).shape == (2, 11)
    assert built.network.conv.out_channels == 7


def test_a_named_backbone_may_have_more_stages() -> None:
    with torch.device("meta"):
        built = build_backbone("r3d_18", 7, stages={"stem": ["stem"]})
    assert list(built.stages) == ["res2", "res3", "res4", "res5", "stem"]
    assert built.stages["stem"] == ("stem",)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no_such_package.nets.build", ["module 'no_such_package.nets' cannot be imported", "no_such_package"]),
        ("pytorchvideo.models.x3d.create_x4d", ["module 'pytorchvideo.models.x3d' has no 'create_x4d'"]),
        ("..build", ["'..build' is not a dotted path"]),
        ("torchvision.models.video.r3d_18", ["num_classes_argument: NAME", "it has: weights, progress, kwargs"]),
        ("i3d_r49", ["unknown backbone 'i3d_r49'", "i3d_r50", "i3d_inception", "r2plus1d_18", X3D]),
    ],
)
def test_paths_that_lead_nowhere_say_where_they_end(path: str, told: list[str]) -> None:
    text = refusal(path, 7)
    assert all(words in text for words in told)


def test_what_is_no_network_is_refused(own_module: str) -> None:
    assert "builds a int, not a torch.nn.Module" in refusal(f"{own_module}.no_network", 7)
    assert "is a int, which cannot be called" in refusal(f"{own_module}.NUMBER", 7)


def test_a_softmax_at_the_end_is_refused() -> None:
    assert "ends in a softmax" in refusal(X3D, 7)
    with torch.device("meta"):
        network = build_backbone(X3D, 7, LOGITS).network
    assert not any(isinstance(module, nn.Softmax) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("i3d_r50", {"widht": 16}, ["unknown option 'widht'", "'i3d_r50'", "width, dropout, stride_profile"]),
        ("i3d_inception", {"width": 16}, ["unknown option 'width'", "its options are: dropout"]),
        ("r3d_18", {"dropout": 0.5}, ["unknown option 'dropout'", "'r3d_18'", "none"]),
        (X3D, {"widht": 16}, [X3D, "widht"]),
    ],
)
def test_unknown_options_are_refused(name: str, options: dict[str, object], told: list[str]) -> None:
    text = refusal(name, 7, options)
    assert all(words in text for words in told)


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ({"res9": ["layer7"]}, ["'res9'", "'layer7'", "the network holds: stem, layer1, layer2"]),
        ({"res9": ["layer1.7"]}, ["'layer1.7'", "layer1 holds: 0, 1"]),
        ({"res9": []}, ["stage 'res9' must be a list of module paths, got []"]),
        ({"res9": "layer1"}, ["got 'layer1'"]),
    ],
)
def test_stages_of_modules_that_do_not_exist_are_refused(stages: dict[str, object], told: list[str]) -> None:
    text = refusal("r3d_18", 7, None, stages)
    assert all(words in text for words in told)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_stage_names_modules_in_the_order_they_run(name: str) -> None:
    with torch.device("meta"):
        backbone = BACKBONES[name](7)
    ran: list[str] = []
    for path in [path for paths in backbone.stages.values() for path in paths]:
        hook = lambda *_, path=path: ran.append(path)  # noqa: E731  # binds path
        backbone.network.get_submodule(path).register_forward_hook(hook)
    logits = backbone.network(torch.empty(1, 3, *backbone.clip, device="meta"))
    assert ran == [path for paths in backbone.stages.values() for path in paths]
    assert logits.shape == (1, 7)
