"""The newest frames of a stream, as many as a clip reaches over, and when they make a clip."""

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from videonl.data.reading.segment import ROUNDING_SECONDS
from videonl.data.sampling import clip_span, frames_shown_at
from videonl.data.transforms import ClipFormat


class LiveFrame(NamedTuple):
    """A frame of a stream.

    Attributes:
        number: Its number in the stream, from 0.
        seconds: When it is shown; the first frame at 0.
        arrived: When it was decoded, on the clock of :func:`time.monotonic`.
        pixels: The crop that the network sees, uint8 (H, W, C).
    """

    number: int
    seconds: float
    arrived: float
    pixels: Tensor


class RollingClip:
    """Keeps the newest frames, and says when a clip is due.

    A clip ends at the newest frame: it has ``num_frames`` frames ``stride_frames`` apart, or those on screen at times
    ``stride_seconds`` apart. The first one is due as soon as the frames reach over a whole clip, and the following ones
    ``every_seconds`` apart.

    Args:
        clip: Which frames make a clip; with dense sampling.
        every_seconds: From one clip to the next.
        partial: Make clips from the first frame on, which stands for those that came before it.
    """

    def __init__(self, clip: ClipFormat, every_seconds: float, partial: bool = False) -> None:
        self.clip, self.every_seconds, self.partial = clip, every_seconds, partial
        in_time = clip.stride_seconds is not None
        span = None if in_time else clip_span(clip.num_frames, clip.stride_frames)
        self._frames: deque[LiveFrame] = deque(maxlen=span)
        self._first_due: float | None = None
        self._num_due = 0

    def __len__(self) -> int:
        return len(self._frames)

    def clear(self) -> None:
        """Starts over after a gap, which no clip may span."""
        self._frames.clear()
        self._first_due, self._num_due = None, 0

    def add(self, frame: LiveFrame) -> tuple[LiveFrame, ...] | None:
        """Takes the next frame.

        Returns:
            The frames of the clip that is due with it, if one is.
        """
        self._frames.append(frame)
        is_full = self._drop_passed() if self.clip.stride_seconds is not None else self._is_full()
        if not (is_full or self.partial) or not self._is_due(frame.seconds):
            return None
        return tuple(self._in_time() if self.clip.stride_seconds is not None else self._dense())

    def _is_due(self, seconds: float) -> bool:
        if self._first_due is None:
            self._first_due = seconds
        elapsed = seconds - self._first_due + ROUNDING_SECONDS
        if elapsed < self._num_due * self.every_seconds:
            return False
        self._num_due = int(elapsed // self.every_seconds) + 1
        return True

    def _is_full(self) -> bool:
        return len(self._frames) == self._frames.maxlen

    def _dense(self) -> list[LiveFrame]:
        last, steps = len(self._frames) - 1, range(self.clip.num_frames - 1, -1, -1)
        return [self._frames[max(0, last - step * self.clip.stride_frames)] for step in steps]

    def _times(self) -> Tensor:
        steps = torch.arange(1 - self.clip.num_frames, 1, dtype=torch.float64)
        return self._frames[-1].seconds + steps * (self.clip.stride_seconds or 0)

    def _in_time(self) -> list[LiveFrame]:
        timestamps = torch.tensor([frame.seconds for frame in self._frames], dtype=torch.float64)
        return [self._frames[index] for index in frames_shown_at(self._times(), timestamps)]

    def _drop_passed(self) -> bool:
        """Drops frames that no coming clip shows; whether those left reach over a clip."""
        first = float(self._times()[0]) + ROUNDING_SECONDS
        while len(self._frames) > 1 and self._frames[1].seconds <= first:
            self._frames.popleft()
        return self._frames[0].seconds <= first
