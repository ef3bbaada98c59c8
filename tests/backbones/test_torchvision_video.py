"""torchvision's networks under our names: the same logits, on clips of any size."""

import pytest
import torch
from torchvision.models import video

from videonl.backbones import BACKBONES

# Enough frames and pixels for torchvision's own S3D, whose last pool takes 2 x 7 x 7.
CLIPS = {"r3d_18": (3, 29, 31), "mc3_18": (3, 29, 31), "r2plus1d_18": (3, 29, 31), "s3d": (13, 209, 211)}
STAGES = {
    "res2": ("layer1.0", "layer1.1"),
    "res3": ("layer2.0", "layer2.1"),
    "res4": ("layer3.0", "layer3.1"),
    "res5": ("layer4.0", "layer4.1"),
}


@pytest.mark.parametrize("name", CLIPS)
def test_logits_are_torchvisions(name: str) -> None:
    torch.manual_seed(3)
    public = getattr(video, name)(weights=None, num_classes=11).double().eval()
    ours = BACKBONES[name](11).network.double().eval()
    ours.load_state_dict(public.state_dict())
    clip = torch.randn(1, 3, *CLIPS[name], dtype=torch.float64)
    with torch.no_grad():
        expected = public(clip)
        assert expected.std() > 1e-4
        torch.testing.assert_close(ours(clip), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CLIPS)
def test_any_clip_gives_logits(name: str) -> None:
    network = BACKBONES[name](11).network.eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, *((5, 17, 23) if name == "s3d" else (1, 2, 3)))).shape == (2, 11)


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_stages_are_the_layers(name: str) -> None:
    with torch.device("meta"):
        assert BACKBONES[name](7).stages == STAGES


def test_stages_of_s3d_are_the_modules_between_its_pools() -> None:
    with torch.device("meta"):
        backbone = BACKBONES["s3d"](7)
    features = list(backbone.network.features)
    staged = {path for paths in backbone.stages.values() for path in paths}
    inception = {f"features.{i}" for i, m in enumerate(features) if type(m).__name__ == "SepInceptionBlock3D"}
    assert staged == inception
    ends = [int(paths[-1].removeprefix("features.")) for paths in backbone.stages.values()]
    assert [isinstance(features[end + 1], torch.nn.MaxPool3d) for end in ends[:-1]] == [True, True]


def test_dropout_of_s3d_is_as_asked() -> None:
    with torch.device("meta"):
        modules = BACKBONES["s3d"](7, dropout=0.3).network.modules()
    assert [module.p for module in modules if isinstance(module, torch.nn.Dropout)] == [0.3]
