"""Making the frame table of a file: from its packets where they tell, else by decoding it once."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from videonl.data import bitstreams
from videonl.data.bitstreams import MPEG4Packet, Picture
from videonl.data.container import decode, find_video_stream, open_container, packets_of, video_stream
from videonl.data.frame_table import FrameTable
from videonl.data.video_reader import DecodingError, check_exists

_FALLBACK_FPS = Fraction(25)
# These keep a presentation timestamp with every packet, and find a key frame by it.
_WITH_TIMESTAMPS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "gif"))
_AVI = "avi"
_NUM_KEPT_TABLES = 1024
# One packet is one frame in these, if it is shown at all.
_ONE_FRAME_PER_PACKET = frozenset(
    ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg", "prores", "ffv1", "png", "gif")
)


class _Packet(NamedTuple):
    """What is kept of a packet: not its data, which for all packets together is the whole file."""

    pts: Any  # an int, or None where the container has no timestamp
    dts: Any
    is_key: bool
    is_discarded: bool
    is_corrupt: bool
    picture: Any  # a Picture, of MPEG-4 at first an MPEG4Packet


def table_of(path: Path | str) -> FrameTable:
    """The frame table of a file, from a small store per process if the file was listed before and has not changed.

    Args:
        path: The video file.

    Raises:
        DecodingError: The file is missing, empty, or no video.
    """
    return _kept(*_identity(Path(path)))[0]


def remember(path: Path, table: FrameTable) -> None:
    """Keep a better table of a file."""
    _kept(*_identity(path))[0] = table


def _identity(path: Path) -> tuple[str, int, int]:
    check_exists(path)
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=_NUM_KEPT_TABLES)
def _kept(path: str, size_bytes: int, modified_ns: int) -> list[FrameTable]:
    return [scan(path)]


def scan(path: Path | str) -> FrameTable:
    """List the frames of a file that sequential decoding gives.

    Args:
        path: The video file.

    Raises:
        DecodingError: The file is missing, empty, or no video.
    """
    path = Path(path)
    with open_container(path) as container:
        stream = video_stream(container, find_video_stream(path, container))
        blank = _blank_table(path, container, stream)
        inspect = _inspector(blank.codec, stream.codec_context.extradata)
        packets = [
            _Packet(
                packet.pts,
                packet.dts,
                packet.is_keyframe,
                packet.is_discard,
                packet.is_corrupt,
                inspect(memoryview(packet)),
            )
            for packet in packets_of(container, stream)
            if packet.size
        ]
        num_macroblocks = -(-stream.codec_context.width // 16) * -(-stream.codec_context.height // 16)
    if not packets:
        raise DecodingError(path, "has a video stream but no frame in it")
    table = _table_from_packets(blank, packets, num_macroblocks)
    return table or decode_once(path, blank)


def decode_once(path: Path | str, facts: FrameTable) -> FrameTable:
    """List the frames of a file by decoding all of it, which takes long but cannot be wrong.

    Args:
        path: The video file.
        facts: Its container, stream and rate.

    Raises:
        DecodingError: No frame can be decoded.
    """
    num_damaged = 0

    def count_damage() -> None:
        nonlocal num_damaged
        num_damaged += 1

    with open_container(Path(path)) as container:
        frames = decode(container, video_stream(container, facts.stream_index), count_damage)
        timestamps = [frame.pts for frame in frames]
    if not timestamps:
        raise DecodingError(path, "cannot be decoded (no frame of it is valid)")
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


def _inspector(codec: str, extradata: bytes | None) -> Callable[[memoryview], Picture | MPEG4Packet]:
    length_size = bitstreams.nal_length_size(codec, extradata)
    if codec in ("h264", "hevc") and length_size is not None:
        read = bitstreams.h264_picture if codec == "h264" else bitstreams.hevc_picture
        return lambda data: read(data, length_size)
    readers: dict[str, Callable[[memoryview], Picture | MPEG4Packet]] = {
        "vp8": bitstreams.vp8_picture,
        "vp9": bitstreams.vp9_picture,
        "mpeg4": bitstreams.mpeg4_packet,
    }
    # Of H.264 and HEVC in another form, and of GIF, only the first picture is surely one to start at.
    start_anywhere = Picture(is_entry=codec not in ("h264", "hevc", "gif"))
    return readers.get(codec, lambda data: start_anywhere)


def _table_from_packets(blank: FrameTable, packets: Sequence[_Packet], num_macroblocks: int) -> FrameTable | None:
    """The table, or None where the packets do not tell which frames the decoder will give."""
    is_known = blank.codec in _ONE_FRAME_PER_PACKET and blank.container in {*_WITH_TIMESTAMPS, _AVI}
    if not is_known or not packets[0].is_key or any(packet.is_corrupt for packet in packets):
        return None
    coded = [packet.picture for packet in packets if isinstance(packet.picture, MPEG4Packet)]
    is_shown = bitstreams.mpeg4_packets_with_frame(coded, num_macroblocks) if coded else None
    if coded and is_shown is None:
        return None
    if is_shown:
        if blank.container != _AVI and not all(is_shown):
            return None
        packets = [
            packet._replace(picture=Picture(is_shown=shown, is_entry=coded_packet.picture_types == "I"))
            for packet, coded_packet, shown in zip(packets, coded, is_shown, strict=True)
        ]
    if any(packet.picture.is_shown is None for packet in packets):
        return None
    if blank.container == _AVI and (blank.codec == "h264" or any("B" in packet.picture_types for packet in coded)):
        return _table_in_order(blank, packets)
    if any(len(packet.picture_types) > 1 for packet in coded):
        return None
    return _table_by_timestamp(blank, packets)


def _table_in_order(blank: FrameTable, packets: Sequence[_Packet]) -> FrameTable | None:
    """AVI has slots, one per packet, and no order of presentation: the frames take the slots in turn."""
    slots = [packet.dts for packet in packets if packet.picture.is_shown]
    if not slots or None in slots:
        return None
    if len(slots) > 1:
        slots[0] = slots[1] - 1  # encoders fill the delay of their B pictures with empty slots behind the first frame
    return dataclasses.replace(blank, timestamps_pts=tuple(slots))


def _table_by_timestamp(blank: FrameTable, packets: Sequence[_Packet]) -> FrameTable | None:
    timestamps = [packet.pts for packet in packets]
    # Decoders may give nothing for frames that are presented before the first key frame.
    if None in timestamps or len(set(timestamps)) < len(packets) or min(timestamps) != timestamps[0]:
        return None
    entries, is_closed = _entries(packets)
    top_layer = max(packet.picture.layer for packet in packets)
    shown = sorted(
        (packet for packet in packets if packet.picture.is_shown and not packet.is_discarded), key=lambda p: p.pts
    )
    return dataclasses.replace(
        blank,
        timestamps_pts=tuple(packet.pts for packet in shown),
        by_timestamp=True,
        key_frames=tuple(index for index, packet in enumerate(shown) if packet.pts in entries),
        droppable_frames=tuple(
            index
            for index, packet in enumerate(shown)
            if not packet.picture.is_reference and packet.picture.layer == top_layer
        ),
        is_plain=is_closed and len(shown) == len(packets),
    )


def _entries(packets: Sequence[_Packet]) -> tuple[set[int], bool]:
    """Timestamps of key frames at which decoding may start, and whether each is also where presentation may start."""
    entries: set[int] = set()
    is_closed = True
    latest = latest_key = packets[0].pts - 1
    for packet in packets:
        is_entry = packet.is_key and packet.picture.is_entry and packet.pts > latest
        is_closed &= packet.pts > latest_key and is_entry >= packet.is_key
        if is_entry:
            entries.add(packet.pts)
        if packet.is_key:
            latest_key = packet.pts
        latest = max(latest, packet.pts)
    return entries, is_closed
