"""Windows over a long video: each frame is decoded, resized and cropped once, however many windows it is in."""

import bisect
import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor

from videonl.data.reading.decoding import VideoReader
from videonl.data.reading.segment import ROUNDING_SECONDS
from videonl.data.sampling import clip_span, frames_shown_at
from videonl.data.transforms import HOUR, ClipFormat, TenCrops, Views, ViewTransform
from videonl.errors import UserError, require_within
from videonl.inference.recognizer import VIEWS_PER_STEP, Recognizer
from videonl.runtime.ahead import ahead

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


def views_of(windows: Windows) -> Generator[tuple[Window, Tensor], None, None]:
    """Decodes the frames of windows in one pass, and cuts each window's views.

    Memory does not grow with the number of windows: a frame is dropped when no coming window has it.

    Yields:
        Each window with its views, uint8 ``(V, C, T, H, W)``: those that :class:`ViewTransform` gives for its frames.

    Raises:
        FewerFramesError: The video turned out to be damaged; make new windows, and start over (``with_recount``).
        DecodingError: A frame cannot be decoded.
    """
    needed = sorted({frame for window in windows for frame in window.frames})
    pixels = zip(needed, windows.reader.frames(needed), strict=True)
    kept: dict[int, Tensor] = {}
    for window in windows:
        for frame in [frame for frame in kept if frame < window.first_frame]:
            del kept[frame]
        while window.last_frame not in kept:
            frame, picture = next(pixels)
            kept[frame] = _cut(windows.transform, picture)
        num_views, num_channels, height_px, width_px = kept[window.last_frame].shape
        size = (num_views, num_channels, len(window.frames), height_px, width_px)
        clip = torch.empty(size, dtype=torch.uint8, memory_format=torch.channels_last_3d)
        yield window, torch.stack([kept[frame] for frame in window.frames], dim=2, out=clip)


def scored(recognizer: Recognizer, windows: Windows, batch_size: int | None = None) -> Iterator[tuple[Window, Tensor]]:
    """Scores windows, while a thread decodes those that follow.

    Args:
        recognizer: Scores the windows.
        windows: Their clip format must be the recognizer's.
        batch_size: Windows in one forward pass; by default one on a CPU, where the logits are then those of each window
            alone to the bit, and as many as make 8 views on a GPU.

    Yields:
        Each window with the logits of its views ``(V, K)``, on the network's device.

    Raises:
        FewerFramesError: As :func:`views_of`.
        DecodingError: As :func:`views_of`.
    """

    def score(views: Tensor, window: Tensor) -> Tensor:
        return recognizer.logits_of_videos(views, window)

    return passed(windows, score, batch_size or default_batch_size(recognizer, windows))


def passed(
    windows: Windows, forward: Callable[[Tensor, Tensor], Tensor], batch_size: int
) -> Iterator[tuple[Window, Tensor]]:
    """Gives windows to a network, while a thread decodes those that follow.

    Args:
        windows: The windows.
        forward: Takes the views (V, C, T, H, W) of several windows and the number of each view's window (V,), and
            returns a tensor of one row for each view.
        batch_size: Most windows at once.

    Yields:
        Each window with the rows of its views.
    """
    require_within(1, batch_size=batch_size)
    with contextlib.closing(ahead(views_of(windows), most=max(2, batch_size))) as ready:
        while batch := list(itertools.islice(ready, batch_size)):
            sizes = [len(views) for _, views in batch]
            number = torch.arange(len(batch)).repeat_interleave(torch.tensor(sizes))
            rows = forward(_joined([views for _, views in batch]), number)
            yield from zip([window for window, _ in batch], rows.split(sizes), strict=True)


def default_batch_size(recognizer: Recognizer, windows: Windows) -> int:
    """The default number of windows in a forward pass."""
    return 1 if recognizer.device.type == "cpu" else max(1, VIEWS_PER_STEP // windows.transform.num_crops)


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
        raise TooShortError(f"{reader.path} has {length}, and a window {_reach(clip)}: it is too short for one window")
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


def _cut(transform: ViewTransform, frame: Tensor) -> Tensor:
    """The crops of one frame (H, W, C), in memory of their own: (V, C, H, W)."""
    return torch.cat(transform.cuts(frame.permute(2, 0, 1)[None]))  # (H, W, C) -> (1, C, H, W)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Views of several windows in one tensor, with their channels innermost as they are."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
