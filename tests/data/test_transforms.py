from typing import Any

import pytest
import torch

from videonl.data.transforms import (
    Augmentation,
    ClipFormat,
    TrainTransform,
    Views,
    ViewTransform,
    crop_corners,
    normalise,
)

SMALL = ClipFormat(num_frames=3, short_side_px=29, crop_px=23)


def gradient(num_frames: int = 3, height: int = 41, width: int = 59) -> torch.Tensor:
    """(T, 3, H, W) whose channels are the row, the column, and the frame."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frame = torch.arange(num_frames)[:, None, None].expand(num_frames, height, width)
    return torch.stack([rows.expand_as(frame) * 4, columns.expand_as(frame) * 4, frame * 10], dim=1).to(torch.uint8)


def transform(seed: int, frames: torch.Tensor, **options: Any) -> torch.Tensor:
    torch.manual_seed(seed)
    return TrainTransform(SMALL, Augmentation(short_side_px=(23, 37)) if not options else Augmentation(**options))(
        frames
    )


@pytest.mark.parametrize(
    "options", [{}, {"resized_crop_area": (0.3, 1.0)}, {"short_side_px": (23, 29), "brightness": 0.4}]
)
@pytest.mark.parametrize("size", [(41, 59), (59, 41), (7, 5), (1, 1), (23, 23)])
def test_training_clips_have_the_crop_size_whatever_the_video(options: dict[str, Any], size: tuple[int, int]) -> None:
    clip = transform(0, gradient(3, *size), **options)
    assert clip.shape == (3, 3, 23, 23)
    assert clip.dtype == torch.uint8
    assert clip.is_contiguous()


@pytest.mark.parametrize("options", [{}, {"resized_crop_area": (0.3, 0.8), "brightness": 0.5}])
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
    grey = torch.full((1, 3, 29, 29), 100, dtype=torch.uint8)
    levels = [int(transform(seed, grey, short_side_px=(29, 29), brightness=0.2)[0, 0, 0, 0]) for seed in range(20)]
    assert 80 <= min(levels) < 95 < 105 < max(levels) <= 120


def test_no_augmentation_of_size_is_a_plain_crop() -> None:
    frames = gradient(height=29, width=29)
    clip = transform(0, frames, short_side_px=(29, 29), flip_probability=0.0)
    top, left = int(clip[0, 0, 0, 0]) // 4, int(clip[1, 0, 0, 0]) // 4
    assert torch.equal(clip, frames[:, :, top : top + 23, left : left + 23].transpose(0, 1))


@pytest.mark.parametrize(
    ("size", "num_crops", "expected"),
    [
        ((29, 53), 1, [(3, 15)]),
        ((29, 53), 3, [(3, 0), (3, 15), (3, 30)]),
        ((53, 29), 2, [(0, 3), (30, 3)]),
        ((23, 23), 3, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_crop_corners(size: tuple[int, int], num_crops: int, expected: list[tuple[int, int]]) -> None:
    assert crop_corners(*size, crop_px=23, num_crops=num_crops) == expected


def test_views_are_cut_from_the_resized_clip() -> None:
    frames = gradient(height=29, width=53)
    views = ViewTransform(SMALL, Views(num_crops=3))(frames)
    assert views.shape == (3, 3, 3, 23, 23)
    for view, left in zip(views, (0, 15, 30), strict=True):
        assert torch.equal(view, frames[:, :, 3:26, left : left + 23].transpose(0, 1))


@pytest.mark.parametrize("size", [(1, 1), (5, 101), (240, 320), (11, 7)])
def test_views_of_any_size(size: tuple[int, int]) -> None:
    views = ViewTransform(SMALL, Views(num_crops=2))(gradient(2, *size))
    assert views.shape == (2, 3, 2, 23, 23)


def test_views_may_be_larger_than_training_crops_but_not_than_the_frame() -> None:
    assert ViewTransform(SMALL, Views(num_crops=3, crop_px=29))(gradient()).shape == (3, 3, 3, 29, 29)
    with pytest.raises(ValueError, match="short_side_px 29, got 31"):
        ViewTransform(SMALL, Views(crop_px=31))


def test_whole_frames_are_resized_and_not_cut() -> None:
    clip_format = ClipFormat(short_side_px=31, crop_px=23)
    frames = torch.randint(256, (5, 3, 41, 67), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    whole = ViewTransform(clip_format, Views(fully_convolutional=True))(frames)
    assert whole.shape == (1, 3, 5, 31, 50)
    (crop,) = ViewTransform(clip_format, Views())(frames)
    assert torch.equal(whole[0, :, :, 4:27, 13:36], crop)  # the centre


def test_the_resized_short_side_is_the_one_asked_for() -> None:
    grey = torch.zeros(1, 3, 97, 331, dtype=torch.uint8)
    whole = ClipFormat(short_side_px=29, crop_px=29)
    assert ViewTransform(whole, Views())(grey).shape == (1, 3, 1, 29, 29)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_normalise(dtype: torch.dtype) -> None:
    clips = torch.tensor([0, 51, 255], dtype=dtype).view(1, 3, 1, 1, 1).expand(2, 3, 5, 7, 11)
    out = normalise(clips, mean=(0.5, 0.1, 0.2), std=(0.5, 0.2, 0.4))
    assert out.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    torch.testing.assert_close(out[1, :, 4, 6, 10], torch.tensor([-1.0, 0.5, 2.0], dtype=out.dtype))


@pytest.mark.parametrize(
    ("kind", "options", "quoted"),
    [
        (ClipFormat, {"num_frames": 0}, "num_frames .* got 0"),
        (ClipFormat, {"stride_frames": -2}, "stride_frames .* got -2"),
        (ClipFormat, {"short_side_px": 100, "crop_px": 101}, "crop_px .* 100, got 101"),
        (ClipFormat, {"std": (0.1, 0.0, 0.1)}, "std .* got"),
        (ClipFormat, {"mean": (0.1, 0.2)}, "mean .* got"),
        (Augmentation, {"short_side_px": (300, 200)}, r"short_side_px .* got \(300, 200\)"),
        (Augmentation, {"resized_crop_area": (0.0, 1.0)}, "resized_crop_area .* got"),
        (Augmentation, {"flip_probability": 1.5}, "flip_probability .* got 1.5"),
        (Augmentation, {"brightness": -0.1}, "brightness .* got -0.1"),
        (Views, {"num_clips": 0}, "num_clips .* got 0"),
        (Views, {"num_crops": 0}, "num_crops .* got 0"),
        (Views, {"crop_px": 0}, "crop_px .* got 0"),
        (Views, {"fully_convolutional": True, "num_crops": 3}, "leave num_crops at 1"),
        (Views, {"fully_convolutional": True, "crop_px": 31}, "crop_px unset"),
    ],
)
def test_wrong_values_are_quoted(kind: type, options: dict[str, Any], quoted: str) -> None:
    with pytest.raises(ValueError, match=quoted):
        kind(**options)


def test_a_short_side_smaller_than_the_crop_is_rejected() -> None:
    with pytest.raises(ValueError, match="short_side_px 200, got 224"):
        TrainTransform(ClipFormat(), Augmentation(short_side_px=(200, 320)))
