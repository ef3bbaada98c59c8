"""From decoded frames to the square clips a network is fed in evaluation: resizing, cropping, normalizing.

Clips are uint8 ``(C, T, H, W)`` with the channels innermost in memory, as decoders give frames and as convolutions want
them: on the way from one to the other no pixel is moved that need not be.
"""

import itertools
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from videonl.data.sampling import SAMPLINGS, find_sampler
from videonl.errors import MOST_FRAMES, MOST_PIXELS, UserError, require_within

MOST_STRIDE = 10**6  # frames
HOUR = 3600  # seconds
MOST_VIEWS = 10**4  # clips of a video, or crops of a clip


@dataclass(frozen=True)
class ClipFormat:
    """The clip format of a network, which is stored in the checkpoint.

    Args:
        num_frames: Number of frames in a clip.
        stride_frames: Distance between consecutive frames of a dense clip, in frames of the video.
        stride_seconds: The same in seconds, for videos of differing or variable frame rate; if set, it
            replaces stride_frames.
        short_side_px: Length to which the short side of a frame is resized for evaluation.
        crop_px: Side of the square crop that the network sees.
        mean: Mean of each RGB channel, on a scale from 0 to 1.
        std: Standard deviation of each RGB channel, on a scale from 0 to 1.
        sampling: How the frames of a clip are selected: dense, uniform, segment or random (see ``sampling``), or a
            function or class of the user by name or dotted path; the path is stored.
    """

    num_frames: int = 8
    stride_frames: int = 8
    short_side_px: int = 256
    crop_px: int = 224
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    stride_seconds: float | None = None
    sampling: str = "dense"

    def __post_init__(self) -> None:
        require_within(1, MOST_FRAMES, num_frames=self.num_frames)
        require_within(1, MOST_STRIDE, stride_frames=self.stride_frames)
        require_within(1, MOST_PIXELS, short_side_px=self.short_side_px, crop_px=self.crop_px)
        fits = self.crop_px <= self.short_side_px
        require(fits, f"crop_px must not exceed short_side_px {self.short_side_px}, got {self.crop_px}")
        in_range = len(self.mean) == 3 and all(0 <= value <= 1 for value in self.mean)
        require(in_range, f"mean must have three values from 0 to 1, got {self.mean}")
        in_range = len(self.std) == 3 and all(0 < value <= 1 for value in self.std)
        require(in_range, f"std must have three values above 0 and at most 1, got {self.std}")
        find_sampler(self.sampling)
        object.__setattr__(self, "sampling", SAMPLINGS.stored_name(self.sampling))  # also found by other processes
        in_time = self.stride_seconds is None or (0 < self.stride_seconds <= HOUR and self.sampling == "dense")
        message = f"stride_seconds must be above 0 and at most {HOUR}, and requires sampling: dense"
        require(in_time, f"{message}; got {self.stride_seconds} and {self.sampling}")

    def describe(self) -> str:
        """Frames and size in words.

        >>> ClipFormat().describe()
        '8 frames x stride 8, short side 256 px'
        >>> ClipFormat(stride_seconds=0.25).describe(), ClipFormat(sampling="uniform").describe()
        ('8 frames x stride 0.25 s, short side 256 px', '8 frames by uniform sampling, short side 256 px')
        """
        stride = str(self.stride_frames) if self.stride_seconds is None else f"{self.stride_seconds:g} s"
        which = f"x stride {stride}" if self.sampling == "dense" else f"by {self.sampling} sampling"
        return f"{self.num_frames} frames {which}, short side {self.short_side_px} px"


@dataclass(frozen=True)
class Views:
    """The views of a video that are scored and averaged.

    Args:
        num_clips: Number of clips, evenly spaced in time; a single one is centered.
        num_crops: Number of square crops of each clip, evenly spaced along its longer side; a single one is centered.
        crop_px: Side of the crops if it differs from the clip format's: networks trained on 224 are tested on 256.
        fully_convolutional: Score the whole resized frame instead of crops of it.
    """

    num_clips: int = 1
    num_crops: int = 1
    crop_px: int | None = None
    fully_convolutional: bool = False

    def __post_init__(self) -> None:
        require_within(1, MOST_VIEWS, num_clips=self.num_clips, num_crops=self.num_crops)
        require_within(1, MOST_PIXELS, crop_px=self.crop_px)
        cropped = self.num_crops > 1 or self.crop_px is not None
        message = "fully_convolutional takes the whole frame; leave num_crops at 1 and crop_px unset"
        require(not (self.fully_convolutional and cropped), message)

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


class ViewTransform:
    """Resize a clip and cut evenly spaced square crops along its longer side, or none; nothing is random.

    Args:
        clip_format: What the network expects.
        views: How many crops, and how large; one is centered, three are the left, center and right (or top, center,
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
        require(self.crop_px <= self.short_side_px, message)

    def __call__(self, frames: torch.Tensor, clips: Sequence[Sequence[int]]) -> torch.Tensor:
        """Cut the views of clips that share frames, each of which is resized once.

        Args:
            frames: uint8 ``(T, C, H, W)``.
            clips: For each clip the places of its frames in ``frames``.

        Returns:
            uint8 ``(V, C, T, crop, crop)``, clip by clip, and crop by crop within a clip. Whole frames make one
            "crop" as high and wide as they are.
        """
        cuts = self.cuts(frames)
        num_channels, height_px, width_px = cuts[0].shape[1:]
        size = (len(clips) * len(cuts), num_channels, len(clips[0]), height_px, width_px)
        views = torch.empty(size, dtype=frames.dtype, memory_format=torch.channels_last_3d)
        for view, (clip, cut) in zip(views, itertools.product(clips, cuts), strict=True):
            for place, index in enumerate(clip):
                view[:, place] = cut[index]
        return views

    def cuts(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """The crops of frames, each of which is resized once.

        Args:
            frames: uint8 ``(T, C, H, W)``.

        Returns:
            For each crop uint8 ``(T, C, crop, crop)``, channels innermost where they were; they may share memory.
        """
        frames = _resize_short_side(frames, self.short_side_px)
        return [frames] if self.whole else self._crops(frames)

    def _crops(self, frames: torch.Tensor) -> list[torch.Tensor]:
        corners = crop_corners(frames.shape[-2], frames.shape[-1], self.crop_px, self.num_crops)
        return crops_at(corners, frames, self.crop_px)


class TenCrops(ViewTransform):
    """Cut the four corners and the center, then those of the mirrored frame, as torchvision's ``TenCrop`` does.

    Args:
        clip_format: What the network expects.
    """

    def __init__(self, clip_format: ClipFormat) -> None:
        super().__init__(clip_format, Views(num_crops=10))

    def _crops(self, frames: torch.Tensor) -> list[torch.Tensor]:
        bottom, right = frames.shape[-2] - self.crop_px, frames.shape[-1] - self.crop_px
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
        return [crop for picture in (frames, frames.flip(-1)) for crop in crops_at(corners, picture, self.crop_px)]


def crops_at(corners: Sequence[tuple[int, int]], frames: torch.Tensor, crop_px: int) -> list[torch.Tensor]:
    """Square crops of frames (T, C, H, W) by their top left corners, without copying."""
    return [frames[..., top : top + crop_px, left : left + crop_px] for top, left in corners]


def crop_corners(height_px: int, width_px: int, crop_px: int, num_crops: int) -> list[tuple[int, int]]:
    """Top left corners of square crops, evenly spaced along the longer side and centered on the shorter.

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


def normalize(clips: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
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
    # In place from the second step on: each would otherwise take memory for a whole batch.
    return (clips / 255).sub_(clips.new_tensor(mean).view(shape)).div_(clips.new_tensor(std).view(shape))


def resized_size(height_px: int, width_px: int, short_side_px: int) -> tuple[int, int]:
    """Height and width of a frame once its short side has been resized.

    >>> resized_size(height_px=240, width_px=320, short_side_px=120)
    (120, 160)
    """
    scale = short_side_px / min(height_px, width_px)
    height_px, width_px = (max(short_side_px, math.floor(side_px * scale)) for side_px in (height_px, width_px))
    return height_px, width_px


def resize(frames: torch.Tensor, size_px: tuple[int, int]) -> torch.Tensor:
    """Resize with antialiasing, to the same bits as torchvision's ``resize``, whose import takes seconds.

    On CPUs with AVX-512 older versions of torchvision (0.21) round otherwise, by at most 1.

    Args:
        frames: uint8 ``(T, C, H, W)``.
        size_px: Height and width wanted.

    Returns:
        uint8 ``(T, C, *size_px)``, in the memory format of ``frames``; they themselves where they have that size.
    """
    if frames.shape[-2:] == size_px:
        return frames
    # Where torch has no fast kernel for bytes, they round otherwise than floats do.
    in_bytes = frames.device.type == "cpu" and (
        torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in ("aarch64", "arm64")
    )
    given = frames if in_bytes else frames.float()
    resized = interpolate(given, size_px, mode="bilinear", align_corners=False, antialias=True)
    return resized if in_bytes else resized.round_().to(frames.dtype)


def _resize_short_side(frames: torch.Tensor, short_side_px: int) -> torch.Tensor:
    return resize(frames, resized_size(frames.shape[-2], frames.shape[-1], short_side_px))


def require(condition: bool, message: str) -> None:
    """Raise a UserError with the message unless the condition holds."""
    if not condition:
        raise UserError(message)
