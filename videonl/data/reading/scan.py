"""Makes the frame table of a file: from its packets if they determine it, otherwise by decoding it once."""

import dataclasses
import operator
from collections import OrderedDict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from videonl.data.reading.container import decode, find_video_stream, open_container, video_stream
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.orientation import Orientation, orientation_of
from videonl.data.reading.packets import Announced, list_packets, table_from_packets
from videonl.data.reading.video_reader import DecodingError, check_exists

_FALLBACK_FPS = Fraction(25)
_MOST_KEPT_TABLES = 16384
# Packed, each takes less than a kilobyte, name and all; unpacking takes hundredths of a millisecond.
_kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()


def table_of(path: Path | str) -> FrameTable:
    """The frame table of a file, from a small store per process if the file was listed before and has not changed.

    Args:
        path: The video file.

    Raises:
        DecodingError: The file is missing, empty, or no video.
    """
    identity = _identity(Path(path))
    if identity not in _kept:
        table = scan(path)
        _keep(identity, table)
        return table
    _kept.move_to_end(identity)
    return FrameTable.from_bytes(_kept[identity])


def remember(path: Path, table: FrameTable) -> None:
    """Keep a better table of a file."""
    _keep(_identity(path), table)


def _identity(path: Path) -> tuple[str, int, int]:
    check_exists(path)
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


def _keep(identity: tuple[str, int, int], table: FrameTable) -> None:
    _kept[identity] = table.to_bytes()
    _kept.move_to_end(identity)
    if len(_kept) > _MOST_KEPT_TABLES:
        _kept.popitem(last=False)


def scan(path: Path | str) -> FrameTable:
    """List the frames of a file that sequential decoding gives.

    Args:
        path: The video file.

    Raises:
        DecodingError: The file is missing, empty, or no video.
    """
    path = Path(path)
    with open_container(path, by_header=True) as container:
        stream = video_stream(container, find_video_stream(path, container))
        blank = _blank_table(path, container, stream)
        packets = list_packets(container, stream)
        num_macroblocks = -(-stream.codec_context.width // 16) * -(-stream.codec_context.height // 16)
    if not packets:
        raise DecodingError(path, "has a video stream but no frame in it")
    announced = table_from_packets(blank, packets, num_macroblocks)
    if announced and not _is_doubtful(path, announced):
        return announced.table
    timestamps, num_damaged = _decoded_times(path, blank)
    if announced and announced.table.timestamps_pts == timestamps and not num_damaged:
        return announced.table
    return counted(blank, timestamps, num_damaged)


def _is_doubtful(path: Path, announced: Announced) -> bool:
    times_mislead = announced.has_unordered_times and not _says_in_order(path, announced.table)
    return announced.is_cut_off or times_mislead


def _says_in_order(path: Path, facts: FrameTable) -> bool:
    """Whether the sequence header, for codecs where it always tells, says that decoding order is display order."""
    if facts.codec != "hevc":
        return False
    with open_container(path, by_header=True) as container:
        context = video_stream(container, facts.stream_index).codec_context
        context.open(strict=False)
        return not context.has_b_frames


def find_orientation(path: Path, table: FrameTable) -> Orientation:
    """How a file's frames are shown, from its table or else, once per process, from its first frame.

    Raises:
        DecodingError: No frame can be decoded.
    """
    kept = _kept.get(_identity(path))
    orientation = table.orientation or (FrameTable.from_bytes(kept).orientation if kept else None)
    if orientation is not None:
        return orientation
    with open_container(path, by_header=True) as container:
        first = next(decode(container, video_stream(container, table.stream_index)), None)
        if first is None:
            raise DecodingError(path, "cannot be decoded (no frame of it is valid)")
        orientation = orientation_of(first)
    remember(path, dataclasses.replace(table, orientation=orientation))
    return orientation


def decode_once(path: Path | str, facts: FrameTable) -> FrameTable:
    """List the frames of a file by decoding all of it, which is slow but always correct.

    Args:
        path: The video file.
        facts: Its container, stream and rate.

    Raises:
        DecodingError: No frame can be decoded.
    """
    return counted(facts, *_decoded_times(path, facts))


def _decoded_times(path: Path | str, facts: FrameTable) -> tuple[tuple[Any, ...], int]:
    """The timestamps of all frames as they are decoded, and the number of damaged packets."""
    num_damaged = 0

    def count_damage() -> None:
        nonlocal num_damaged
        num_damaged += 1

    with open_container(Path(path)) as container:
        frames = decode(container, video_stream(container, facts.stream_index), count_damage)
        timestamps = tuple(frame.pts for frame in frames)
    if not timestamps:
        raise DecodingError(path, "cannot be decoded (no frame of it is valid)")
    return timestamps, num_damaged


def counted(facts: FrameTable, timestamps: Sequence[Any], num_damaged: int) -> FrameTable:
    """The table of a file all of which was decoded.

    Args:
        facts: Its container, stream and rate.
        timestamps: Of its frames, as they were decoded; where they do not rise, frames are one period apart.
        num_damaged: Number of packets that could not be decoded.
    """
    in_order = None not in timestamps and all(map(operator.lt, timestamps, timestamps[1:]))
    facts = facts if in_order else dataclasses.replace(facts, time_base=_frame_period(facts))
    return dataclasses.replace(
        facts,
        timestamps_pts=tuple(timestamps if in_order else range(len(timestamps))),
        by_timestamp=False,
        key_frames=(),
        droppable_frames=(),
        num_damaged_packets=num_damaged,
    )


def _blank_table(path: Path, container: Any, stream: Any) -> FrameTable:
    rate = stream.average_rate or stream.guessed_rate or _FALLBACK_FPS
    return FrameTable(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        stream_index=stream.index,
        file_size_bytes=path.stat().st_size,
        timestamps_pts=(),
        time_base=(stream.time_base.numerator, stream.time_base.denominator),
        nominal_fps=float(rate),
    )


def _frame_period(facts: FrameTable) -> tuple[int, int]:
    return (1 / Fraction(facts.nominal_fps).limit_denominator(1_000_000)).as_integer_ratio()
