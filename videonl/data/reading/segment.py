"""Part of a video: which frames it has, what it is called, and how it is read."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import torch

from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.url_path import Where, where
from videonl.data.reading.video_reader import DecodingError, VideoReader

ROUNDING_SECONDS = 1e-6
"""Times that differ by less are the same."""
NO_FRAMES = "the segment has no frames"
COLUMNS = ("start", "end", "start_frame", "end_frame")
"""What the columns of a table are called that name a segment: in seconds, or in frames."""
_NUMBER = r"\d+(?:\.\d+)?"
_NAME = re.compile(rf"(?P<file>.+)#(?P<unit>t|frames)=(?P<start>{_NUMBER})?(?:,(?P<end>{_NUMBER}))?")
_TIME = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d{1,2}):)?(?P<seconds>\d+(?:[.,]\d+)?)")


@dataclass(frozen=True)
class Segment:
    """The frames from a start to before an end: those whose timestamp t satisfies start <= t < end.

    Args:
        start: In seconds since the first frame, or the number of a frame.
        end: The same; infinite for the rest of the video.
        in_frames: Whether both are numbers of frames.

    Examples:
        >>> segment = Segment(0.5, 1.0)
        >>> str(segment), segment.frames(torch.arange(8) / 4)
        ('t=0.5,1', range(2, 4))
    """

    start: float = 0.0
    end: float = math.inf
    in_frames: bool = False

    def frames(self, timestamps_seconds: torch.Tensor) -> range:
        """The numbers of its frames in the video; none where it lies outside.

        Args:
            timestamps_seconds: When each frame of the video is shown, ``(num_frames,)``, increasing from 0.
        """
        num_frames = len(timestamps_seconds)
        if self.in_frames:
            return range(min(int(self.start), num_frames), int(min(self.end, num_frames)))
        limits = torch.tensor([self.start, self.end], dtype=torch.float64) - ROUNDING_SECONDS
        first, after = torch.searchsorted(timestamps_seconds.double(), limits).tolist()
        return range(first, after)

    @classmethod
    def of_columns(
        cls, start: float | None, end: float | None, start_frame: int | None, end_frame: int | None
    ) -> "Segment | None":
        """What a row of :data:`COLUMNS` says; None where all of them are None."""
        first, after, in_frames = (start, end, False) if start_frame is None else (start_frame, end_frame, True)
        return None if first is None else cls(float(first), math.inf if after is None else float(after), in_frames)

    def columns(self) -> dict[str, float | int | None]:
        """What :data:`COLUMNS` say of it."""
        end = None if math.isinf(self.end) else self.end
        if self.in_frames:
            return dict(zip(COLUMNS, (None, None, int(self.start), None if end is None else int(end)), strict=True))
        return dict(zip(COLUMNS, (self.start, end, None, None), strict=True))

    def __str__(self) -> str:
        unit = "frames" if self.in_frames else "t"
        end = "" if math.isinf(self.end) else f",{_plain(self.end)}"
        return f"{unit}={_plain(self.start)}{end}"


@dataclass(frozen=True)
class VideoPart:
    """A segment of a file, called as W3C's media fragments are: ``match.mp4#t=11.9,21.2``.

    Args:
        file: The video file, folder of frames, or place in a shard.
        segment: Which frames of it.
    """

    file: Path | ShardMember
    segment: Segment

    def __str__(self) -> str:
        return f"{self.file}#{self.segment}"


Place: TypeAlias = Path | ShardMember | VideoPart
"""Where a video is: a file or folder of frames, a stretch of a shard, or a part of either."""


def whole_of(place: Place) -> Path | ShardMember:
    """What a place is part of, or the place itself."""
    return place.file if isinstance(place, VideoPart) else place


def part_of(file: Path | ShardMember, segment: Segment | None) -> Place:
    """The part of a file, or all of it."""
    return file if segment is None else VideoPart(file, segment)


def segment_of(place: Place) -> Segment | None:
    """Which part of its file a place is; None for all of it."""
    return place.segment if isinstance(place, VideoPart) else None


def named_place(name: str | Path) -> Where | VideoPart:
    """The file or URL that a name means, or the part of one: ``match.mp4#t=1,2``. A file of that very name goes first.

    >>> str(named_place("match.mp4#t=11.90,21.2"))
    'match.mp4#t=11.9,21.2'

    Raises:
        UserError: It is a URL with a mistake.
    """
    found = _NAME.fullmatch(str(name))
    if found is None or os.path.lexists(name):
        return _whole(name)
    end = math.inf if found["end"] is None else float(found["end"])
    return VideoPart(_whole(found["file"]), Segment(float(found["start"] or 0), end, found["unit"] == "frames"))


def _whole(name: str | Path) -> Where:
    return Path(name) if isinstance(name, Path) else where(name)


def as_file_name(place: Place) -> str:
    """Its path, with the segment in the file's name, for what is written of it.

    >>> as_file_name(VideoPart(Path("a/match.mp4"), Segment(11.9, 21.2)))
    'a/match_t11.9-21.2.mp4'
    """
    segment, path = segment_of(place), PurePosixPath(str(whole_of(place)))
    if segment is None:
        return str(path)
    return str(path.with_name(f"{path.stem}_{str(segment).replace('=', '').replace(',', '-')}{path.suffix}"))


def read_time(text: str) -> float:
    """Seconds of a time as people write it: ``83.5``, ``1:23.5`` or ``00:01:23.500``.

    >>> read_time("00:01:23.500"), read_time("83.5")
    (83.5, 83.5)

    Raises:
        ValueError: It is none, or is negative.
    """
    found = _TIME.fullmatch(text.strip())
    parts = found.groups(default="0") if found else ("0", "0", "0")
    hours, minutes, seconds = (float(part.replace(",", ".")) for part in parts)
    if found is None or (found["minutes"] and seconds >= 60) or (found["hours"] and minutes >= 60):
        raise ValueError(f"{text!r} is no time: write seconds, or HH:MM:SS.mss")
    return hours * 3600 + minutes * 60 + seconds


class SegmentReader(VideoReader):
    """Reads the frames of a segment as a video of their own: frame 0 is its first one, at time 0.

    Args:
        part: What is read.
        reader: An open reader of the whole file, which is closed with this one.

    Raises:
        DecodingError: The segment has no frames.
    """

    def __init__(self, part: VideoPart, reader: VideoReader) -> None:
        self.part, self._reader = part, reader
        self.path, self.table = reader.path, reader.table
        assert self._frames  # raises where there are none

    @property
    def name(self) -> str:
        """See :attr:`VideoReader.name`."""
        return str(self.part)

    @property
    def _frames(self) -> range:
        # Anew each time: a damaged file may have been counted again since.
        reader = self._reader
        frames = self.part.segment.frames(reader.timestamps_seconds)
        if not frames:
            length = f"{reader.num_frames} frames in {reader.duration_seconds:.3f} s"
            raise DecodingError(str(self.part), f"{NO_FRAMES}; the video has {length}")
        return frames

    @property
    def num_frames(self) -> int:
        """Number of frames of the segment."""
        return len(self._frames)

    @property
    def first_frame(self) -> int:
        """The number of its first frame in the whole video."""
        return self._frames.start

    @property
    def duration_seconds(self) -> float:
        """From the first frame's appearance to the last one's end."""
        times, frames = self._reader.timestamps_seconds, self._frames
        last = self._reader.duration_seconds if frames.stop >= len(times) else float(times[frames.stop])
        return last - float(times[frames.start])

    @property
    def timestamps_seconds(self) -> torch.Tensor:
        """When each frame is shown, float64 ``(num_frames,)``; the first at 0."""
        frames = self._frames
        times = self._reader.timestamps_seconds[frames.start : frames.stop]
        return times - times[0]

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        self._check_indices(indices)
        first = self.first_frame
        try:
            return self._reader.read([first + index for index in indices])
        except DecodingError as error:
            raise type(error)(str(self.part), error.reason) from error
        finally:
            self.table = self._reader.table

    def _pass_over(self, indices: Sequence[int]) -> Iterator[torch.Tensor]:
        first = self.first_frame
        try:
            yield from self._reader.frames([first + index for index in indices])
        except DecodingError as error:
            raise type(error)(str(self.part), error.reason) from error
        finally:
            self.table = self._reader.table

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def _plain(value: float) -> str:
    """Without zeros at the end, and without an exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
