"""Converted weights state the clip that was published for their network; see also ``test_resnet_layouts``."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.checkpoints import load_trained
from videonl.models.conversion import Stated, convert, convert_content
from videonl.models.weights import Weights

FACEBOOK, IMAGENET = (0.45, 0.225), (0.485, 0.229)  # the first channel's mean and std


def weights_of(backbone: str, **options: Any) -> dict[str, Any]:
    return ClipClassifier(backbone, 7, **options).network.state_dict()


def clip_of(weights: Weights) -> ClipFormat:
    return ClipFormat(**weights.clip)


def assert_clip(weights: Weights, frames: int, stride: int, short_side: int, crop: int, pixels: Any) -> None:
    clip = clip_of(weights)
    assert (clip.num_frames, clip.stride_frames, clip.stride_seconds) == (frames, stride, None)
    assert (clip.short_side_px, clip.crop_px) == (short_side, crop)
    assert (clip.mean[0], clip.std[0]) == pytest.approx(pixels, abs=1e-3)


@pytest.mark.parametrize("backbone", ["c2d_r50", "i3d_r50", "slow_r50"])
def test_pytorchvideo(backbone: str) -> None:
    weights = convert_content(weights_of(backbone, width=1), "pytorchvideo", Stated(), "hub")
    assert_clip(weights, 8, 8, 256, 224, FACEBOOK)
    assert weights.network["backbone_options"]["head"] == "windows"


def test_torchvision_at_15_frames_a_second() -> None:
    clip = clip_of(convert_content(weights_of("r3d_18"), "torchvision", Stated(), "file"))
    assert (clip.num_frames, clip.short_side_px, clip.crop_px) == (16, 128, 112)
    assert clip.stride_seconds == pytest.approx(1 / 15)
    stated = convert_content(weights_of("r3d_18"), "torchvision", Stated(num_frames=8, stride_frames=3), "file")
    assert_clip(stated, 8, 3, 128, 112, (0.43216, 0.22803))


def test_torchvision_s3d() -> None:
    clip = clip_of(convert_content(weights_of("s3d"), "torchvision", Stated(), "file"))
    assert (clip.num_frames, clip.short_side_px, clip.crop_px) == (128, 256, 224)
    assert clip.stride_seconds == pytest.approx(1 / 15)


def test_images_have_no_clip_unless_it_is_stated() -> None:
    from torchvision.models import resnet50

    with torch.device("meta"):
        shapes = resnet50(num_classes=7).state_dict()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}
    assert convert_content(state, "torchvision", Stated("c2d_r50"), "file").clip == {}
    stated = Stated("c2d_r50", num_frames=8, stride_frames=3)
    assert_clip(convert_content(state, "torchvision", stated, "file"), 8, 3, 256, 224, IMAGENET)


def test_inception() -> None:
    state = weights_of("i3d_inception")
    weights = convert_content(state, "i3d-inception", Stated(), "file")
    assert_clip(weights, 64, 1, 256, 224, (0.5, 0.5))
    stated = convert_content(state, "i3d-inception", Stated(num_frames=16, stride_frames=2), "file")
    assert_clip(stated, 16, 2, 256, 224, (0.5, 0.5))


@pytest.mark.parametrize("name", ["SLOW_4x16_R50.pyth", "slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb.pth"])
def test_a_name_that_says_another_clip_is_not_passed_over(tmp_path: Path, name: str) -> None:
    torch.save(weights_of("slow_r50", width=1), tmp_path / name)
    with pytest.raises(UserError, match=r"its name says 4x16.* --clip 4x16 or --clip 8x8"):
        convert(tmp_path / name, "pytorchvideo")
    assert_clip(
        convert(tmp_path / name, "pytorchvideo", Stated(num_frames=4, stride_frames=16)), 4, 16, 256, 224, FACEBOOK
    )


@pytest.mark.parametrize("name", ["SLOW_8x8_R50.pyth", "slow_224x224.pth", "slow_8xb16.pth", "slow_16x112x112.pth"])
def test_other_names_say_nothing_else(tmp_path: Path, name: str) -> None:
    torch.save(weights_of("slow_r50", width=1), tmp_path / name)
    assert_clip(convert(tmp_path / name, "pytorchvideo"), 8, 8, 256, 224, FACEBOOK)


def test_the_head_of_pytorchvideo_at_256(public_network, agree, tmp_path: Path) -> None:
    network = public_network("c2d")
    network.blocks[-1].pool = nn.AvgPool3d((1, 7, 7), stride=1)  # as its hub has it, for fewer frames
    torch.save(network.state_dict(), tmp_path / "hub.pyth")
    agree(convert(tmp_path / "hub.pyth", "pytorchvideo"), network, (1, 3, 2, 225, 256))


@pytest.fixture
def without_clip(tmp_path: Path) -> Path:
    """What version 0.1 wrote of a file of pytorchvideo's without ``--clip``."""
    network = ClipClassifier("c2d_r50", 5, width=1)
    clip = {"mean": (0.45,) * 3, "std": (0.225,) * 3}
    Weights(network.network.state_dict(), "hub.pyth", network.settings, clip=clip).save(tmp_path / "old.pt")
    return tmp_path / "old.pt"


def test_old_files_without_a_clip_load_and_are_mended(without_clip: Path, tmp_path: Path) -> None:
    trained = load_trained(without_clip)
    assert not trained.are_classes_named
    with pytest.raises(UserError, match=r"does not record the clip format .*num_frames, stride_frames.*--from videonl"):
        _ = trained.clip
    mended = convert(without_clip, "videonl", Stated(num_frames=64, stride_frames=1)).named(["a", "b", "c", "d", "e"])
    mended.save(tmp_path / "new.pt")
    again = load_trained(tmp_path / "new.pt")
    assert (again.clip["num_frames"], again.clip["stride_frames"], again.class_names[2]) == (64, 1, "c")
    states = trained.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    with pytest.raises(UserError, match="--strides is for checkpoints of other projects"):
        convert(without_clip, "videonl", Stated(strides=(1, 1)))


@pytest.mark.parametrize("flag", ["pairwise", "scale", "subsample"])
def test_options_of_blocks_are_refused_where_there_are_none(flag: str) -> None:
    stated = Stated(**{flag: "dot_product" if flag == "pairwise" else True})
    for backbone, layout in (("c2d_r50", "pytorchvideo"), ("i3d_inception", "i3d-inception")):
        options = {"width": 1} if backbone == "c2d_r50" else {}
        with pytest.raises(UserError, match=f"--{flag} is for non-local blocks, but the file has none"):
            convert_content(weights_of(backbone, **options), layout, stated, "file")


def test_a_block_alone_has_no_network_to_state(tmp_path: Path) -> None:
    names = {"g.0": (5, 10), "theta": (5, 10), "phi.0": (5, 10), "W.0": (10, 5)}
    state = {f"{name}.{each}": torch.zeros(*shape, 1, 1, 1) if each == "weight" else torch.zeros(shape[0])
             for name, shape in names.items() for each in ("weight", "bias")}  # fmt: skip
    state |= {f"W.1.{each}": torch.ones(10) for each in ("weight", "bias", "running_mean", "running_var")}
    known = {"pairwise": "dot_product"}
    assert convert_content(state, "alexhex7-block", Stated(**known), "file").block is not None
    for flag, stated in (
        ("clip", {"num_frames": 8, "stride_frames": 8}),
        ("strides", {"strides": (2, 2)}),
        ("scale", {"scale": True}),
        ("subsample", {"subsample": False}),
    ):
        with pytest.raises(UserError, match=f"--{flag} "):
            convert_content(state, "alexhex7-block", Stated(**known, **stated), "file")
