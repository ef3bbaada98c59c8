"""From decoded frames to the square clips a network is fed: resizing, cropping, augmenting, normalising."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from videonl.errors import UserError


@dataclass(frozen=True)
class ClipFormat:
    """What the network expects of a clip; travels with the checkpoint.

    Args:
        num_frames: Number of frames in a clip.
        stride_frames: Distance between consecutive frames of a clip, in frames of the video.
        stride_seconds: The same in seconds, for videos of differing or variable frame rate; where this is set, it takes
            the place of stride_frames.
        short_side_px: Length to which the short side of a frame is resized for evaluation.
        crop_px: Side of the square crop that the network sees.
        mean: Mean of each RGB channel, on a scale from 0 to 1.
        std: Standard deviation of each RGB channel, on a scale from 0 to 1.
    """

    num_frames: int = 8
    stride_frames: int = 8
    short_side_px: int = 256
    crop_px: int = 224
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    stride_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_frames", "stride_frames", "short_side_px", "crop_px"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        in_time = self.stride_seconds is None or self.stride_seconds > 0
        _require(in_time, f"stride_seconds must be positive, got {self.stride_seconds}")
        fits = self.crop_px <= self.short_side_px
        _require(fits, f"crop_px must not exceed short_side_px {self.short_side_px}, got {self.crop_px}")
        _require(len(self.mean) == 3, f"mean must have three values, got {self.mean}")
        _require(len(self.std) == 3 and min(self.std) > 0, f"std must have three positive values, got {self.std}")

    def describe(self) -> str:
        """Frames and size in words.

        >>> ClipFormat().describe()
        '8 frames x stride 8, short side 256 px'
        """
        return f"{self.num_frames} frames x stride {self.stride_frames}, short side {self.short_side_px} px"


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied. One choice is made per clip and applies to all of its frames.

    Args:
        short_side_px: Range from which the length of the short side is drawn before a random crop.
        resized_crop_area: Range from which the share of the frame's area is drawn that is cropped and resized, with an
            aspect ratio from 3/4 to 4/3. Where this is set, it takes the place of short_side_px.
        flip_probability: Probability of mirroring left to right. Set it to 0 where left and right mean something.
        brightness: Largest relative change of brightness; 0.4 draws a factor from 0.6 to 1.4.
    """

    short_side_px: tuple[int, int] = (256, 320)
    resized_crop_area: tuple[float, float] | None = None
    flip_probability: float = 0.5
    brightness: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.short_side_px
        _require(1 <= low <= high, f"short_side_px must be a range of positive lengths, got {self.short_side_px}")
        if self.resized_crop_area is not None:
            low_area, high_area = self.resized_crop_area
            in_order = 0 < low_area <= high_area <= 1
            _require(in_order, f"resized_crop_area must be a range within (0, 1], got {self.resized_crop_area}")
        _require(0 <= self.flip_probability <= 1, f"flip_probability must be in [0, 1], got {self.flip_probability}")
        _require(0 <= self.brightness <= 1, f"brightness must be in [0, 1], got {self.brightness}")


@dataclass(frozen=True)
class Views:
    """How many views of a video are scored and averaged.

    Args:
        num_clips: Number of clips, evenly spaced in time; a single one is centred.
        num_crops: Number of square crops of each clip, evenly spaced along its longer side; a single one is centred.
        crop_px: Side of the crops where it is not the clip format's: networks trained on 224 are tested on 256.
        fully_convolutional: Score the whole resized frame instead of crops of it.
    """

    num_clips: int = 1
    num_crops: int = 1
    crop_px: int | None = None
    fully_convolutional: bool = False

    def __post_init__(self) -> None:
        _require(self.num_clips >= 1, f"num_clips must be at least 1, got {self.num_clips}")
        _require(self.num_crops >= 1, f"num_crops must be at least 1, got {self.num_crops}")
        _require(self.crop_px is None or self.crop_px >= 1, f"crop_px must be at least 1, got {self.crop_px}")

        cropped = self.num_crops > 1 or self.crop_px is not None
        message = "fully_convolutional takes the whole frame; leave num_crops at 1 and crop_px unset"
        _require(not (self.fully_convolutional and cropped), message)

    @property
    def num_views(self) -> int:
        """Number of views of each video: clips times crops."""
        return self.num_clips * self.num_crops

    @property
    def numbers(self) -> list[tuple[int, int]]:
        """The clip and the crop of every view, from 0, in the order in which views are read."""
        return [(clip, crop) for clip in range(self.num_clips) for crop in range(self.num_crops)]

    def describe(self, clip_format: ClipFormat) -> str:
        """The views in words.

        >>> Views(num_clips=10, num_crops=3, crop_px=256).describe(ClipFormat())
        '10 clips x 3 crops of 256 px'
        >>> Views(num_clips=1, fully_convolutional=True).describe(ClipFormat())
        '1 clip of whole frames with a short side of 256 px'
        """
        clips = f"{self.num_clips} clip{'s' * (self.num_clips > 1)}"
        if self.fully_convolutional:
            return f"{clips} of whole frames with a short side of {clip_format.short_side_px} px"
        return (
            f"{clips} x {self.num_crops} crop{'s' * (self.num_crops > 1)} of {self.crop_px or clip_format.crop_px} px"
        )


class TrainTransform:
    """Crop and vary a training clip at random, with torch's global generator.

    Args:
        clip_format: What the network expects.
        augmentation: How clips are varied.

    Raises:
        UserError: The short side may be drawn smaller than the crop.
    """

    def __init__(self, clip_format: ClipFormat, augmentation: Augmentation) -> None:
        crop_px, area = clip_format.crop_px, augmentation.resized_crop_area
        if area is None:
            shortest_px = augmentation.short_side_px[0]
            message = f"crop_px must not exceed the augmentation's short_side_px {shortest_px}, got {crop_px}"
            _require(crop_px <= shortest_px, message)
            self._crop: v2.Transform = v2.RandomCrop(crop_px)
        else:
            self._crop = v2.RandomResizedCrop(crop_px, scale=area, antialias=True)
        self._brightness = v2.ColorJitter(brightness=augmentation.brightness)
        self.augmentation = augmentation

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Transform one clip, uint8 ``(T, C, H, W)`` to uint8 ``(C, T, crop, crop)``."""
        if self.augmentation.resized_crop_area is None:
            low, high = self.augmentation.short_side_px
            frames = _resize_short_side(frames, int(torch.randint(low, high + 1, ())))
        frames = self._crop(frames)
        if torch.rand(()) < self.augmentation.flip_probability:
            frames = vision.horizontal_flip(frames)
        frames = self._brightness(frames)
        return frames.transpose(0, 1).contiguous()  # (T, C, H, W) -> (C, T, H, W)


class ViewTransform:
    """Resize a clip and cut evenly spaced square crops along its longer side, or none; nothing is random.

    Args:
        clip_format: What the network expects.
        views: How many crops, and how large; one is centred, three are the left, centre and right (or top, centre,
            bottom).

    Raises:
        UserError: The crop is larger than the short side.
    """

    def __init__(self, clip_format: ClipFormat, views: Views) -> None:
        self.short_side_px = clip_format.short_side_px
        self.crop_px = views.crop_px or clip_format.crop_px
        self.num_crops = views.num_crops
        self.whole = views.fully_convolutional
        message = f"crop_px must not exceed short_side_px {self.short_side_px}, got {self.crop_px}"
        _require(self.crop_px <= self.short_side_px, message)

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Transform one clip, uint8 ``(T, C, H, W)`` to uint8 ``(num_crops, C, T, crop, crop)``.

        Whole frames make one "crop" as high and wide as they are.
        """
        crop_px = self.crop_px
        frames = _resize_short_side(frames, self.short_side_px)
        if self.whole:
            return frames.transpose(0, 1).contiguous()[None]  # (T, C, H, W) -> (1, C, T, H, W)
        corners = crop_corners(frames.shape[-2], frames.shape[-1], crop_px, self.num_crops)
        crops = [frames[..., top : top + crop_px, left : left + crop_px] for top, left in corners]
        return torch.stack(crops).transpose(1, 2).contiguous()  # (V, T, C, H, W) -> (V, C, T, H, W)


def crop_corners(height_px: int, width_px: int, crop_px: int, num_crops: int) -> list[tuple[int, int]]:
    """Top left corners of square crops, evenly spaced along the longer side and centred on the shorter.

    >>> crop_corners(height_px=10, width_px=16, crop_px=8, num_crops=3)
    [(1, 0), (1, 4), (1, 8)]
    """
    slack_y_px, slack_x_px = height_px - crop_px, width_px - crop_px
    if num_crops == 1:
        return [(slack_y_px // 2, slack_x_px // 2)]
    steps = range(num_crops)
    if width_px >= height_px:
        return [(slack_y_px // 2, slack_x_px * step // (num_crops - 1)) for step in steps]
    return [(slack_y_px * step // (num_crops - 1), slack_x_px // 2) for step in steps]


def normalise(clips: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Bring clips to zero mean and unit variance: ``(x / 255 - mean) / std``. Cheapest on the device.

    Args:
        clips: ``(B, C, T, H, W)``, uint8 or floating, values 0 to 255.
        mean: Mean of each channel, on a scale from 0 to 1.
        std: Standard deviation of each channel, on a scale from 0 to 1.

    Returns:
        ``(B, C, T, H, W)``, float32, or the dtype of ``clips`` if that is floating.
    """
    clips = clips if clips.is_floating_point() else clips.float()
    shape = (1, -1, 1, 1, 1)
    return (clips / 255 - clips.new_tensor(mean).view(shape)) / clips.new_tensor(std).view(shape)


def resized_size(height_px: int, width_px: int, short_side_px: int) -> tuple[int, int]:
    """Height and width of a frame once its short side has been resized.

    >>> resized_size(height_px=240, width_px=320, short_side_px=120)
    (120, 160)
    """
    scale = short_side_px / min(height_px, width_px)
    height_px, width_px = (max(short_side_px, math.floor(side_px * scale)) for side_px in (height_px, width_px))
    return height_px, width_px


def _resize_short_side(frames: torch.Tensor, short_side_px: int) -> torch.Tensor:
    size_px = resized_size(frames.shape[-2], frames.shape[-1], short_side_px)
    resized: torch.Tensor = vision.resize(frames, list(size_px), antialias=True)
    return resized


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
