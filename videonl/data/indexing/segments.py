"""What an index says of parts of videos: their frames and times, and where they overlap."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch

from videonl.data.indexing.index_file import IndexRow
from videonl.data.reading.frame_folder_reader import NOMINAL_FPS
from videonl.data.reading.frame_table import FrameTable


def frames_of(row: IndexRow) -> range:
    """The frames of the file that a row is about, as far as its facts say; none where they are unknown."""
    if row.num_frames is None:
        return range(0)
    segment = row.segment
    return range(row.num_frames) if segment is None else segment.frames(_timestamps(row, row.num_frames))


def num_frames_of(row: IndexRow) -> int:
    """How many these are."""
    return len(frames_of(row))


def seconds_of(row: IndexRow) -> float | None:
    """How long it is that a row is about; None where that is unknown."""
    if row.segment is None or row.duration_seconds is None or row.num_frames is None:
        return row.duration_seconds
    start, end = _times(row)
    return max(0.0, min(end, row.duration_seconds) - start)


def reaches_beyond(row: IndexRow) -> bool:
    """Whether a segment ends after its video, by more than a frame."""
    segment = row.segment
    if segment is None or math.isinf(segment.end) or row.duration_seconds is None or row.num_frames is None:
        return False
    frame_seconds = row.duration_seconds / row.num_frames
    return _times(row)[1] > row.duration_seconds + frame_seconds


def overlaps(rows: Sequence[IndexRow]) -> Iterator[list[IndexRow]]:
    """Segments of one file, by its content, that share frames and are in different splits: pairs, each once."""
    by_file: dict[str, list[IndexRow]] = defaultdict(list)
    for row in rows:
        if row.segment is not None and row.content_hash and row.usable:
            by_file[row.content_hash].append(row)
    for group in by_file.values():
        if len({row.split for row in group}) > 1:
            yield from _overlapping(group)


def _overlapping(group: Sequence[IndexRow]) -> Iterator[list[IndexRow]]:
    """By sweeping over the starts: each segment against those of other splits that have not ended."""
    spans = sorted(((frames.start, frames.stop, place) for place, frames in enumerate(map(frames_of, group)) if frames))
    running: list[tuple[int, int]] = []
    for start, stop, place in spans:
        running = [(end, other) for end, other in running if end > start]
        yield from ([group[other], group[place]] for _, other in running if group[other].split != group[place].split)
        running.append((stop, place))


def _times(row: IndexRow) -> tuple[float, float]:
    """Start and end of a row's segment in seconds."""
    segment = row.segment
    assert segment is not None and row.duration_seconds is not None and row.num_frames is not None
    if not segment.in_frames:
        return segment.start, segment.end
    per_frame = row.duration_seconds / row.num_frames
    return segment.start * per_frame, segment.end * per_frame


def _timestamps(row: IndexRow, num_frames: int) -> torch.Tensor:
    """Those of its frame table; evenly spaced where there is none, as for damaged files and folders of frames."""
    if row.trusted_table:
        return _table(row.trusted_table).timestamps_seconds
    seconds = row.duration_seconds or num_frames / NOMINAL_FPS
    return torch.arange(num_frames, dtype=torch.float64) * (seconds / num_frames)


@lru_cache(maxsize=8)  # the segments of one file follow each other
def _table(packed: str) -> FrameTable:
    return FrameTable.from_text(packed)
