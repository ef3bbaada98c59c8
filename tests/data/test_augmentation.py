from typing import Any

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from videonl.data.augmentation import Augmentation, Color, RandAugment, TrainTransform
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError

SMALL = ClipFormat(num_frames=3, short_side_px=29, crop_px=23)


def gradient(num_frames: int = 3, height: int = 41, width: int = 59) -> torch.Tensor:
    """(T, 3, H, W) whose channels are the row, the column, and the frame."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frame = torch.arange(num_frames)[:, None, None].expand(num_frames, height, width)
    return torch.stack([rows.expand_as(frame) * 4, columns.expand_as(frame) * 4, frame * 10], dim=1).to(torch.uint8)


def transform(seed: int, frames: torch.Tensor, label: int = 0, **options: Any) -> torch.Tensor:
    torch.manual_seed(seed)
    augmentation = Augmentation(**{"short_side_px": (23, 37)} | options)
    return TrainTransform(SMALL, augmentation, no_flip_labels={5})(frames, label)


EVERYTHING = [
    {},
    {"rand_augment": RandAugment(num_ops=3, magnitude=13), "erasing_probability": 0.5},
    {"color": Color(0.4, 0.3, 0.2, 0.1), "erasing_probability": 1.0},
]


@pytest.mark.parametrize(
    "options", [*EVERYTHING, {"resized_crop_area": (0.3, 1.0)}, {"short_side_px": (23, 29), "color": Color(0.4)}]
)
@pytest.mark.parametrize("size", [(41, 59), (59, 41), (7, 5), (1, 1), (23, 23)])
def test_training_clips_have_the_crop_size_whatever_the_video(options: dict[str, Any], size: tuple[int, int]) -> None:
    clip = transform(0, gradient(3, *size), **options)
    assert clip.shape == (3, 3, 23, 23)
    assert clip.dtype == torch.uint8
    assert clip.permute(1, 2, 3, 0).is_contiguous()


@pytest.mark.parametrize("options", [*EVERYTHING, {"resized_crop_area": (0.3, 0.8), "color": Color(0.5)}])
def test_one_choice_for_all_frames(options: dict[str, Any]) -> None:
    still = gradient(1).expand(5, -1, -1, -1)
    for seed in range(5):
        clip = transform(seed, still, **options)
        assert (clip == clip[:, :1]).all()
    assert not torch.equal(transform(0, still, **options), transform(1, still, **options))
    assert torch.equal(transform(2, still, **options), transform(2, still, **options))


def test_frames_stay_in_order() -> None:
    clip = transform(0, gradient())
    assert clip[2, :, 0, 0].tolist() == [0, 10, 20]


def test_flip_probability_is_kept() -> None:
    def mirrored(probability: float) -> set[bool]:
        options = {"short_side_px": (29, 37), "flip_probability": probability}
        clips = [transform(seed, gradient(), **options) for seed in range(12)]
        return {bool(clip[1, 0, 0, 0] > clip[1, 0, 0, -1]) for clip in clips}

    assert (mirrored(0), mirrored(1), mirrored(0.5)) == ({False}, {True}, {False, True})


def test_brightness_scales_within_its_range() -> None:
    gray = torch.full((1, 3, 29, 29), 100, dtype=torch.uint8)
    levels = [int(transform(seed, gray, short_side_px=(29, 29), color=Color(0.2))[0, 0, 0, 0]) for seed in range(20)]
    assert 80 <= min(levels) < 95 < 105 < max(levels) <= 120


def test_no_augmentation_of_size_is_a_plain_crop() -> None:
    frames = gradient(height=29, width=29)
    clip = transform(0, frames, short_side_px=(29, 29), flip_probability=0.0)
    top, left = int(clip[0, 0, 0, 0]) // 4, int(clip[1, 0, 0, 0]) // 4
    assert torch.equal(clip, frames[:, :, top : top + 23, left : left + 23].transpose(0, 1))


def test_a_jittered_crop_shows_what_resizing_then_cropping_does() -> None:
    frames = gradient(height=58, width=62)
    clip = transform(3, frames, short_side_px=(31, 31), flip_probability=0.0).float()
    resized = vision.resize(frames, [31, 33], antialias=True).transpose(0, 1).float()
    places = [(top, left) for top in range(9) for left in range(11)]
    views = torch.stack([resized[:, :, top : top + 23, left : left + 23] for top, left in places])
    # The frames' rows and columns differ by 4 levels, those of the resized frames by 7.5.
    assert (views - clip).abs().amax(dim=(1, 2, 3, 4)).min() < 7.5


def test_a_resized_crop_is_torchvisions() -> None:
    frames = gradient()
    clip = transform(11, frames, resized_crop_area=(0.2, 0.7), flip_probability=0.0)
    torch.manual_seed(11)
    assert torch.equal(clip, v2.RandomResizedCrop(23, scale=(0.2, 0.7), antialias=True)(frames).transpose(0, 1))


def test_classes_may_be_left_unmirrored_and_nothing_else_changes() -> None:
    mirrored, kept = (transform(0, gradient(), label=label, flip_probability=1.0) for label in (4, 5))
    assert torch.equal(mirrored.flip(-1), kept)
    names = ["left", "right", "up"]
    assert Augmentation(no_flip_classes=("right", "left")).no_flip_labels(names) == {0, 1}
    with pytest.raises(UserError, match="no_flip_classes names no class of the data: down"):
        Augmentation(no_flip_classes=("down", "up")).no_flip_labels(names)


def test_rand_augment_is_torchvisions_with_the_mean_outside() -> None:
    frames = gradient(height=23, width=23)
    plain = {"short_side_px": (23, 23), "flip_probability": 0.0}
    for seed in range(7):
        with_ops = transform(seed, frames, **plain, rand_augment=RandAugment(2, 17))
        torch.manual_seed(seed)
        for _ in range(4):  # what cropping and mirroring drew
            torch.rand(())
        expected = v2.RandAugment(2, 17, fill=[115, 115, 115])(frames)
        assert torch.equal(with_ops, expected.transpose(0, 1))


def test_an_erased_box_is_one_in_all_frames_and_of_the_mean_color() -> None:
    frames = torch.zeros(3, 3, 23, 23, dtype=torch.uint8)
    for seed in range(5):
        erased = transform(seed, frames, erasing_probability=1.0)
        assert set(erased.unique().tolist()) == {0, 115}  # 0.45 of 255
        assert (erased == erased[:1, :1]).all()
        rows, columns = torch.where(erased[0, 0] > 0)
        height, width = (int(axis.max() - axis.min()) + 1 for axis in (rows, columns))
        assert height * width == len(rows)
        assert 0.01 < len(rows) / 23**2 < 0.36


@pytest.mark.parametrize(
    ("kind", "options", "quoted"),
    [
        (Augmentation, {"short_side_px": (300, 200)}, r"short_side_px .* got \(300, 200\)"),
        (Augmentation, {"resized_crop_area": (0.0, 1.0)}, "resized_crop_area .* got"),
        (Augmentation, {"flip_probability": 1.5}, "flip_probability .* got 1.5"),
        (Augmentation, {"erasing_probability": -0.5}, "erasing_probability .* got -0.5"),
        (Color, {"brightness": -0.1}, "brightness .* got -0.1"),
        (Color, {"hue": 0.7}, r"hue must be in \[0, 0.5\], got 0.7"),
        (RandAugment, {"num_ops": -1}, "num_ops .* got -1"),
        (RandAugment, {"magnitude": 31}, "magnitude .* got 31"),
    ],
)
def test_wrong_values_are_quoted(kind: type, options: dict[str, Any], quoted: str) -> None:
    with pytest.raises(ValueError, match=quoted):
        kind(**options)


def test_a_short_side_smaller_than_the_crop_is_rejected() -> None:
    with pytest.raises(ValueError, match="short_side_px 200, got 224"):
        TrainTransform(ClipFormat(), Augmentation(short_side_px=(200, 320)))
