"""Windows over a long video: which frames each has, and when it is shown."""

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

import torch

from videonl.data.reading.decoding import VideoReader
from videonl.data.reading.segment import ROUNDING_SECONDS
from videonl.data.sampling import clip_span, frames_shown_at
from videonl.data.transforms import HOUR, ClipFormat, TenCrops, Views, ViewTransform
from videonl.errors import UserError, require_within

Last = Literal["repeat", "drop"]
LEAST_SECONDS = 1e-3  # from a window to the next


class TooShortError(UserError):
    """A video that is shorter than one window."""


@dataclass(frozen=True)
class Window:
    """A stretch of a video that makes one clip.

    Attributes:
        number: Its place among the windows, from 0.
        frames: The frames of the clip, never decreasing; they repeat where the video has no more.
        start_seconds: When the first frame appears.
        center_seconds: The middle of the window; of a centered window, when the frame that it is about appears.
        end_seconds: When the last frame makes way for the next one, or the video ends.
    """

    number: int
    frames: tuple[int, ...]
    start_seconds: float
    center_seconds: float
    end_seconds: float

    @property
    def first_frame(self) -> int:
        """The first frame."""
        return self.frames[0]

    @property
    def last_frame(self) -> int:
        """The last frame."""
        return self.frames[-1]


class Windows(Sequence[Window]):
    """Windows of one clip each over an open video, in the order of time.

    A window has the frames of a dense clip: ``num_frames`` frames ``stride_frames`` apart, or, where the clip format
    has ``stride_seconds``, those on screen at times so far apart. Where it goes on before the first or after the last
    frame of the video, that frame is repeated.

    Args:
        reader: The video; it must stay open while the windows are used.
        clip: Which frames make a clip, and how large it is.
        starts: For each window the frame that it starts at, never decreasing, from 0 to the last frame.
        num_crops: Crops of each window, evenly spaced along the longer side.
        ten_crops: Cut four corners and the center instead, and these mirrored.
        num_before: How many frames of the clip come before the frame in ``starts``.

    Raises:
        UserError: The clip format has another sampling, whose clips spread over whole videos.
        ValueError: The starts fall, or are not frames of the video.
    """

    def __init__(
        self,
        reader: VideoReader,
        clip: ClipFormat,
        starts: Sequence[int],
        num_crops: int = 1,
        ten_crops: bool = False,
        num_before: int = 0,
    ) -> None:
        require_dense(clip)
        if any(start > following for start, following in itertools.pairwise(starts)):
            raise ValueError("windows must be in the order of time")
        if starts and not (starts[0] >= 0 and starts[-1] < reader.num_frames):
            raise ValueError(f"windows must start at frames from 0 to {reader.num_frames - 1}")
        self.reader, self.clip, self.starts, self.num_before = reader, clip, starts, num_before
        self.transform = TenCrops(clip) if ten_crops else ViewTransform(clip, Views(num_crops=num_crops))

    @classmethod
    def every_seconds(
        cls, reader: VideoReader, clip: ClipFormat, stride_seconds: float, num_crops: int = 1
    ) -> "Windows":
        """Windows that start at the frames on screen at even times; the last one ends at the video's last frame.

        Raises:
            UserError: The video is shorter than a window, or the stride is below a millisecond.
        """
        require_within(LEAST_SECONDS, HOUR, stride_seconds=stride_seconds)
        last = require_room(reader, clip)
        timestamps = reader.timestamps_seconds
        times = torch.arange(0, float(timestamps[-1]) + ROUNDING_SECONDS, stride_seconds, dtype=torch.float64)
        starts = [start for start in dict.fromkeys(frames_shown_at(times, timestamps)) if start < last]
        return cls(reader, clip, [*starts, last], num_crops)

    @classmethod
    def every_frames(
        cls,
        reader: VideoReader,
        clip: ClipFormat,
        stride_frames: int,
        last: Last = "repeat",
        num_crops: int = 1,
        ten_crops: bool = False,
    ) -> "Windows":
        """Windows that start at frame 0 and so many frames apart.

        Args:
            reader: The video.
            clip: Which frames make a clip.
            stride_frames: From the start of a window to the next.
            last: ``repeat`` ends with the first window that reaches the video's last frame, which is repeated where the
                window goes on; ``drop`` has no window beyond the last frame.
            num_crops: Crops of each window.
            ten_crops: Cut ten crops.

        Raises:
            UserError: No window fits, and none is to be completed.
        """
        require_within(1, stride_frames=stride_frames)
        if last == "drop":
            starts = range(0, require_room(reader, clip) + 1, stride_frames)
        else:
            num_steps = -(-max(0, _last_start(reader, clip)) // stride_frames)
            starts = range(0, min(num_steps * stride_frames + 1, reader.num_frames), stride_frames)
        return cls(reader, clip, starts, num_crops, ten_crops)

    @classmethod
    def centered(
        cls, reader: VideoReader, clip: ClipFormat, stride_frames: int, num_crops: int = 1, ten_crops: bool = False
    ) -> "Windows":
        """One window about every ``stride_frames``-th frame of the video, from the first on.

        That frame is the clip's frame ``num_frames // 2``, from 0.
        """
        require_within(1, stride_frames=stride_frames)
        starts = range(0, reader.num_frames, stride_frames)
        return cls(reader, clip, starts, num_crops, ten_crops, num_before=clip.num_frames // 2)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, place: int) -> Window: ...

    @overload
    def __getitem__(self, place: slice) -> list[Window]: ...

    def __getitem__(self, place: int | slice) -> Window | list[Window]:
        places = range(len(self))[place]
        if isinstance(places, range):
            return [self._window(number) for number in places]
        return self._window(places)

    def _window(self, number: int) -> Window:
        start, timestamps = self.starts[number], self.reader.timestamps_seconds
        frames = self._frames(start)
        first, following = frames[0], frames[-1] + 1
        begin = float(timestamps[first])
        end = float(timestamps[following]) if following < len(timestamps) else self.reader.duration_seconds
        center = float(timestamps[start]) if self.num_before else (begin + end) / 2
        return Window(number, frames, begin, center, end)

    def _frames(self, start: int) -> tuple[int, ...]:
        clip, steps = self.clip, range(-self.num_before, self.clip.num_frames - self.num_before)
        if clip.stride_seconds is None:
            last = self.reader.num_frames - 1
            return tuple(min(max(start + step * clip.stride_frames, 0), last) for step in steps)
        timestamps = self.reader.timestamps_seconds
        times = timestamps[start] + torch.tensor(steps, dtype=torch.float64) * clip.stride_seconds
        return tuple(frames_shown_at(times, timestamps))


def require_dense(clip: ClipFormat) -> None:
    """Refuses clips that are not a stretch of a video.

    Raises:
        UserError: Naming the sampling.
    """
    if clip.sampling != "dense":
        raise UserError(
            f"there are no windows of clips by {clip.sampling} sampling: each spreads over a whole video. Use predict, "
            "or a network that was trained with sampling: dense"
        )


def require_room(reader: VideoReader, clip: ClipFormat) -> int:
    """The last frame that a whole window can start at.

    Raises:
        TooShortError: A window is longer than the video.
    """
    require_dense(clip)
    last = _last_start(reader, clip)
    if last < 0:
        frames = "1 frame" if reader.num_frames == 1 else f"{reader.num_frames} frames"
        length = f"{frames} ({reader.duration_seconds:.2f} s)"
        raise TooShortError(f"{reader.name} has {length}, and a window {_reach(clip)}: it is too short for one window")
    return last


def _reach(clip: ClipFormat) -> str:
    if clip.stride_seconds is None:
        return f"reaches over {clip_span(clip.num_frames, clip.stride_frames)} frames ({clip.describe()})"
    return f"reaches over {(clip.num_frames - 1) * clip.stride_seconds:.2f} s ({clip.describe()})"


def _last_start(reader: VideoReader, clip: ClipFormat) -> int:
    """Where a window starts that ends at the last frame; below 0 where none fits."""
    if clip.stride_seconds is None:
        return reader.num_frames - clip_span(clip.num_frames, clip.stride_frames)
    timestamps: list[float] = reader.timestamps_seconds.tolist()
    last_seconds = timestamps[-1] - (clip.num_frames - 1) * clip.stride_seconds
    if last_seconds < -ROUNDING_SECONDS:
        return -1
    return bisect.bisect_left(timestamps, last_seconds - ROUNDING_SECONDS)
