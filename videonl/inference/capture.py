"""A thread that decodes a stream and hands on the newest clip, whoever is slow."""

import itertools
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from videonl.data.reading.clip_buffer import Pictures
from videonl.data.reading.container import decode
from videonl.data.reading.decoding import DecodingError
from videonl.data.reading.live import LiveSource, first_video, open_live
from videonl.data.transforms import HOUR, ClipFormat, Views, ViewTransform
from videonl.errors import MOST_SECONDS, UserError, require_within
from videonl.inference.rolling import LiveFrame, RollingClip
from videonl.inference.windows import LEAST_SECONDS

_log = logging.getLogger(__name__)
_MOST_BACKOFF_SECONDS = 30
_CAMERA_OVER_HTTP = "mpjpeg"  # FFmpeg's name of pictures in multipart/x-mixed-replace
_ENDS_WITHIN_SECONDS = 2.0  # of closing, but for FFmpeg's reading from the network


@dataclass(frozen=True)
class Streaming:
    """How a stream is read.

    Attributes:
        stride_seconds: From one clip to the next.
        realtime: Read a file or a download with a length at the pace of its timestamps, and skip clips that the network
            is too slow for. Otherwise files, pipes and downloads wait for the network, and no clip is skipped.
        follow: The file is still being written: wait for more at its end.
        partial: Make clips from the first frame on, which stands for those before it.
        reconnect: Open a camera or an address again after a fault.
        time_limit_seconds: How long a source may give nothing; ``None`` for ever.
        options: FFmpeg's own, such as ``{"framerate": "30"}`` of a camera.

    Raises:
        UserError: A number is out of range.
    """

    stride_seconds: float = 0.5
    realtime: bool = True
    follow: bool = False
    partial: bool = False
    reconnect: bool = True
    time_limit_seconds: float | None = 30
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_within(LEAST_SECONDS, HOUR, stride_seconds=self.stride_seconds)
        require_within(LEAST_SECONDS, MOST_SECONDS, time_limit_seconds=self.time_limit_seconds)


class Counts(NamedTuple):
    """What happened to a stream so far.

    Attributes:
        frames: Frames that were decoded.
        dropped_frames: Those that a clip was due to have, and that no clip had: the network was too slow.
        skipped_clips: Clips that were due, and that the network was too slow for.
        reconnects: How often the source was opened again after a fault, and went on.
    """

    frames: int = 0
    dropped_frames: int = 0
    skipped_clips: int = 0
    reconnects: int = 0


class Handover:
    """One clip on its way from the thread that decodes to the one that predicts; a newer one takes its place."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._clip: tuple[LiveFrame, ...] | None = None
        self._due: set[int] = set()  # numbers of frames that a clip was due to have, and none had yet
        self._had: set[int] = set()  # those that one had, and a coming one may have again
        self._is_over = False
        self.counts = Counts()

    def put(self, clip: tuple[LiveFrame, ...], waits: bool) -> None:
        """Hands a clip on.

        Args:
            clip: Its frames.
            waits: Wait until the clip before it was taken, instead of taking its place.
        """
        with self._changed:
            while waits and self._clip is not None and not self._is_over:
                self._changed.wait()
            if self._is_over:
                return
            if self._clip is not None:
                self.count(skipped_clips=1)
            self._due.update({frame.number for frame in clip} - self._had)
            self._drop_before(clip[0].number)
            self._clip = clip
            self._changed.notify_all()

    def take(self) -> tuple[LiveFrame, ...] | None:
        """The newest clip that was not taken yet, as soon as there is one; None when the stream is over."""
        with self._changed:
            while self._clip is None and not self._is_over:
                self._changed.wait()
            clip, self._clip = self._clip, None
            if clip is not None:
                self._had |= {frame.number for frame in clip}
                self._due -= self._had
                self._changed.notify_all()
            elif self._due:
                self._drop_before(max(self._due) + 1)
            return clip

    def end(self, forget: bool = False) -> None:
        """No further clip comes.

        Args:
            forget: Nor is the one that waits wanted.
        """
        with self._changed:
            self._is_over = True
            self._clip = None if forget else self._clip
            self._changed.notify_all()

    def count(self, **more: int) -> None:
        """Adds to the counts, whose names are given."""
        with self._changed:
            counts = self.counts._asdict()
            self.counts = Counts(**{name: number + more.get(name, 0) for name, number in counts.items()})

    def _drop_before(self, number: int) -> None:
        passed = {due for due in self._due if due < number}
        self._due -= passed
        self._had = {had for had in self._had if had >= number}
        if passed:
            self.count(dropped_frames=len(passed))


class Capture:
    """Decodes a stream in its own thread, and keeps the frames of one clip.

    Args:
        source: Where it comes from.
        clip: Which frames make a clip.
        streaming: How it is read.

    Raises:
        UserError: The source is live, and was asked to wait.
    """

    def __init__(self, source: LiveSource, clip: ClipFormat, streaming: Streaming) -> None:
        if not (source.waits or streaming.realtime):
            raise UserError(f"{source.name} does not wait for the network; realtime=False is for files and pipes")
        self.source, self.streaming = source, streaming
        self.handover = Handover()
        self.error: BaseException | None = None
        self._rolling = RollingClip(clip, streaming.stride_seconds, streaming.partial)
        self._transform = ViewTransform(clip, Views())
        self._reformatter = VideoReformatter()  # it keeps what it prepared for a size
        self._clock = StreamClock()
        self._over = threading.Event()
        self._endless = False
        self._failures = 0  # of opening since the last frame
        self._thread = threading.Thread(target=self._run, name="videonl-capture", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, which releases the source."""
        self._over.set()
        self.handover.end(forget=True)
        self._thread.join(_ENDS_WITHIN_SECONDS)

    @property
    def is_running(self) -> bool:
        """Whether the thread still holds the source."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                fault = self._read_until_fault()
                if fault is None or self._over.is_set():
                    break
                self._back_off(fault)
        except BaseException as error:
            self.error = error
        self.handover.end()

    def _read_until_fault(self) -> str | None:
        """Reads to the end; what is wrong with the source, if it may be opened again.

        Raises:
            DecodingError: It may not.
        """
        may = self.streaming.reconnect and self.source.reconnects
        try:
            self._read()
        except DecodingError as error:
            if may and self.handover.counts.frames:
                return error.reason
            raise
        return "ended" if may and self._endless and self.handover.counts.frames else None

    def _back_off(self, fault: str) -> None:
        seconds = min(2**self._failures, _MOST_BACKOFF_SECONDS)
        self._failures += 1
        _log.warning("%s: %s; opening it again in %d s", self.source.name, fault, seconds)
        self._over.wait(seconds)

    def _read(self) -> None:
        limit, options = self.streaming.time_limit_seconds, self.streaming.options
        with open_live(self.source, limit, options, self._over) as container:
            stream = first_video(self.source, container)
            self._endless = self.source.kind != "download" or container.format.name == _CAMERA_OVER_HTTP
            has_length = self.source.kind == "file" or (self.source.kind == "download" and bool(container.duration))
            frames = decode(container, stream)
            if has_length:  # reopened, it is the same video
                frames = itertools.dropwhile(self._clock.has_passed, frames)
            else:
                self._clock.reconnect()
            self._receive(frames, has_length and self.streaming.realtime)

    def _receive(self, frames: Iterable[Any], paced: bool) -> None:
        for frame in frames:
            if self._over.is_set():
                return
            self._add(frame, paced)

    def _add(self, frame: Any, paced: bool) -> None:
        seconds, is_gap = self._clock.read(frame.time)
        if is_gap:
            self._rolling.clear()
        if paced and self._over.wait(max(0.0, self._clock.started + seconds - time.monotonic())):
            return
        if self._failures:
            self.handover.count(reconnects=1)
            self._failures = 0
        pixels = self._cut(Pictures(Path(self.source.name), self._reformatter).picture(frame))
        clip = self._rolling.add(LiveFrame(self.handover.counts.frames, seconds, time.monotonic(), pixels))
        self.handover.count(frames=1)
        if clip is not None:
            self.handover.put(clip, waits=not self.streaming.realtime)

    def _cut(self, picture: Tensor) -> Tensor:
        """The middle crop of a frame (H, W, C), likewise, in memory of its own."""
        (cut,) = self._transform.cuts(picture.permute(2, 0, 1)[None])  # (H, W, C) -> (1, C, H, W)
        return cut[0].permute(1, 2, 0).clone(memory_format=torch.contiguous_format)  # (C, H, W) -> (H, W, C)


class StreamClock:
    """Turns the timestamps of a stream into seconds since its first frame, which never fall.

    Timestamps that go backwards, or restart with another connection, continue by the time that passed.
    """

    def __init__(self) -> None:
        self.started = 0.0
        self._last: tuple[float, float] | None = None  # seconds and arrival of the last frame
        self._base: float | None = None  # timestamp of second 0

    def reconnect(self) -> None:
        """The next timestamp has nothing to do with the last one."""
        self._base = None

    def has_passed(self, frame: Any) -> bool:
        """Whether that frame, of the same video read again, came before."""
        if self._last is None or self._base is None:
            return False
        return frame.time is None or frame.time - self._base <= self._last[0]

    def read(self, timestamp: float | None) -> tuple[float, bool]:
        """The time of a frame that just came.

        Args:
            timestamp: What the stream says, if anything.

        Returns:
            The seconds, and whether something may be missing between the last frame and this one.
        """
        now = time.monotonic()
        if self._last is None:
            self.started, self._last, self._base = now, (0.0, now), timestamp
            return 0.0, False
        last, arrived = self._last
        passed = last + now - arrived
        seconds = passed if timestamp is None or self._base is None else timestamp - self._base
        is_gap = seconds < last or (self._base is None and timestamp is not None)
        if is_gap:
            seconds = passed
            self._base = None if timestamp is None else timestamp - seconds
        self._last = seconds, now
        return seconds, is_gap
