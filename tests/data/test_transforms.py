from typing import Any

import pytest
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as vision
from torchvision.transforms.v2.functional import _geometry

from videonl.data.transforms import (
    ClipFormat,
    Views,
    ViewTransform,
    crop_corners,
    normalize,
    resize,
)

SMALL = ClipFormat(num_frames=3, short_side_px=29, crop_px=23)


def gradient(num_frames: int = 3, height: int = 41, width: int = 59) -> torch.Tensor:
    """(T, 3, H, W) whose channels are the row, the column, and the frame."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frame = torch.arange(num_frames)[:, None, None].expand(num_frames, height, width)
    return torch.stack([rows.expand_as(frame) * 4, columns.expand_as(frame) * 4, frame * 10], dim=1).to(torch.uint8)


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
    views = ViewTransform(SMALL, Views(num_crops=3))(frames, [[0, 1, 2]])
    assert views.shape == (3, 3, 3, 23, 23)
    assert views.permute(0, 2, 3, 4, 1).is_contiguous()
    for view, left in zip(views, (0, 15, 30), strict=True):
        assert torch.equal(view, frames[:, :, 3:26, left : left + 23].transpose(0, 1))


def test_views_are_clip_by_clip_and_crop_by_crop() -> None:
    views = ViewTransform(SMALL, Views(num_crops=2))(gradient(5), [[0, 2], [1, 4]])
    assert views[:, 2, :, 0, 0].tolist() == [[0, 20], [0, 20], [10, 40], [10, 40]]
    assert torch.equal(views[1::2], ViewTransform(SMALL, Views(num_crops=2))(gradient(5), [[0, 2], [1, 4]])[[1, 3]])


def require_torchvisions(resized: torch.Tensor, expected: torch.Tensor) -> None:
    """The same bits, or less than 1 off where torchvision 0.21 resizes floats on a CPU with AVX-512."""
    in_bytes = _geometry._do_native_uint8_resize_on_cpu(InterpolationMode.BILINEAR)
    of_floats = torch.backends.cpu.get_cpu_capability() == "AVX512" and not in_bytes
    torch.testing.assert_close(resized, expected, rtol=0, atol=1 if of_floats else 0)


def test_views_are_torchvisions_resize_and_crop() -> None:
    frames = torch.randint(0, 256, (2, 43, 61, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    resized = v2.Resize(29, antialias=True)(frames)
    expected = v2.CenterCrop(23)(resized).transpose(0, 1)
    require_torchvisions(ViewTransform(SMALL, Views())(frames, [[0, 1]])[0], expected)


@pytest.mark.parametrize("size", [(1, 1), (5, 101), (240, 320), (11, 7)])
def test_views_of_any_size(size: tuple[int, int]) -> None:
    views = ViewTransform(SMALL, Views(num_crops=2))(gradient(2, *size), [[0, 1]])
    assert views.shape == (2, 3, 2, 23, 23)


def test_views_may_be_larger_than_training_crops_but_not_than_the_frame() -> None:
    assert ViewTransform(SMALL, Views(num_crops=3, crop_px=29))(gradient(), [[0, 1, 2]]).shape == (3, 3, 3, 29, 29)
    with pytest.raises(ValueError, match="short_side_px 29, got 31"):
        ViewTransform(SMALL, Views(crop_px=31))


def test_whole_frames_are_resized_and_not_cut() -> None:
    clip_format = ClipFormat(short_side_px=31, crop_px=23)
    frames = torch.randint(256, (5, 3, 41, 67), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    whole = ViewTransform(clip_format, Views(fully_convolutional=True))(frames, [range(len(frames))])
    assert whole.shape == (1, 3, 5, 31, 50)
    (crop,) = ViewTransform(clip_format, Views())(frames, [range(len(frames))])
    assert torch.equal(whole[0, :, :, 4:27, 13:36], crop)  # the center


def test_the_resized_short_side_is_the_one_asked_for() -> None:
    gray = torch.zeros(1, 3, 97, 331, dtype=torch.uint8)
    whole = ClipFormat(short_side_px=29, crop_px=29)
    assert ViewTransform(whole, Views())(gray, [[0]]).shape == (1, 3, 1, 29, 29)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_normalize(dtype: torch.dtype) -> None:
    clips = torch.tensor([0, 51, 255], dtype=dtype).view(1, 3, 1, 1, 1).expand(2, 3, 5, 7, 11)
    out = normalize(clips, mean=(0.5, 0.1, 0.2), std=(0.5, 0.2, 0.4))
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
        (ClipFormat, {"sampling": "sparse"}, "unknown sampling 'sparse'; the samplings are: dense, "),
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


@pytest.mark.parametrize(
    ("num_frames", "size", "wanted"), [(2, (43, 61), (29, 41)), (1, (31, 53), (59, 101)), (3, (17, 19), (17, 19))]
)
def test_frames_are_resized_as_torchvision_does_without_it(
    num_frames: int, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    frames = torch.randint(256, (num_frames, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    for given in (frames.permute(0, 3, 1, 2), frames.permute(0, 3, 1, 2).contiguous()):
        expected = vision.resize(given, list(wanted), antialias=True)
        require_torchvisions(resize(given, wanted), expected)
        for layout in (torch.channels_last, torch.contiguous_format):
            assert resize(given, wanted).is_contiguous(memory_format=layout) == expected.is_contiguous(
                memory_format=layout
            )
