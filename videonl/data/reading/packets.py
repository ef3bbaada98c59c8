"""The frame table of a file from its packets alone, where they tell which frames a decoder will give."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from videonl.data.reading import bitstreams
from videonl.data.reading.bitstreams import MPEG4Packet, Picture
from videonl.data.reading.container import packets_of
from videonl.data.reading.frame_table import FrameTable

# These keep a presentation timestamp with every packet, and find a key frame by it.
_WITH_TIMESTAMPS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "gif"))
_AVI = "avi"
_WITH_NAL_UNITS = ("h264", "hevc")
# One packet is one frame in these, if it is shown at all.
_ONE_FRAME_PER_PACKET = frozenset(
    ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg", "prores", "ffv1", "png", "gif")
)


class Packet(NamedTuple):
    """What is kept of a packet: not its data, which for all packets together is the whole file."""

    pts: Any  # an int, or None where the container has no timestamp
    dts: Any
    is_key: bool
    is_discarded: bool
    is_corrupt: bool
    picture: Any  # a Picture, of MPEG-4 at first an MPEG4Packet


def list_packets(container: Any, stream: Any) -> list[Packet]:
    """All packets of a stream that hold data, in decoding order."""
    context = stream.codec_context
    inspect = _inspector(context.codec.canonical_name, context.extradata)
    return [
        Packet(
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


def _inspector(codec: str, extradata: bytes | None) -> Callable[[memoryview], Picture | MPEG4Packet]:
    length_size = bitstreams.nal_length_size(codec, extradata)
    if codec in _WITH_NAL_UNITS:
        read = bitstreams.h264_picture if codec == "h264" else bitstreams.hevc_picture
        return lambda data: read(data, length_size)
    readers: dict[str, Callable[[memoryview], Picture | MPEG4Packet]] = {
        "vp8": bitstreams.vp8_picture,
        "vp9": bitstreams.vp9_picture,
        "mpeg4": bitstreams.mpeg4_packet,
    }
    start_anywhere = Picture(is_entry=codec != "gif")  # of GIF, only the first picture is surely one to start at
    return readers.get(codec, lambda data: start_anywhere)


class Announced(NamedTuple):
    """What packets announce, and why a decoder may give other frames.

    Args:
        table: The frames.
        is_cut_off: Whether the first picture is none to start at by itself.
        has_unordered_times: Whether timestamps may not follow the order in which pictures are shown.
    """

    table: FrameTable
    is_cut_off: bool = False
    has_unordered_times: bool = False


def table_from_packets(blank: FrameTable, packets: Sequence[Packet], num_macroblocks: int) -> Announced | None:
    """The frames, or None where the packets do not tell which the decoder will give.

    Args:
        blank: What the header says: container, stream and rate.
        packets: All packets, at least one.
        num_macroblocks: Size of a picture, in squares of 16 x 16 pixels.
    """
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
            packet._replace(
                picture=Picture(
                    is_shown=shown,
                    is_entry=coded_packet.picture_types == "I",
                    is_b="B" in coded_packet.picture_types,
                )
            )
            for packet, coded_packet, shown in zip(packets, coded, is_shown, strict=True)
        ]
    if any(packet.picture.is_shown is None for packet in packets):
        return None
    if blank.container == _AVI and (blank.codec == "h264" or any("B" in packet.picture_types for packet in coded)):
        return _table_in_order(blank, packets)
    if any(len(packet.picture_types) > 1 for packet in coded):
        return None
    return _table_by_timestamp(blank, packets)


def _table_in_order(blank: FrameTable, packets: Sequence[Packet]) -> Announced | None:
    """AVI has slots, one per packet, and no order of presentation: the frames take the slots in turn."""
    slots = [packet.dts for packet in packets if packet.picture.is_shown]
    if not slots or None in slots or _starts_cut_off(blank, packets):
        return None
    if len(slots) > 1:
        slots[0] = slots[1] - 1  # encoders fill the delay of their B pictures with empty slots behind the first frame
    return Announced(dataclasses.replace(blank, timestamps_pts=tuple(slots)))


def _table_by_timestamp(blank: FrameTable, packets: Sequence[Packet]) -> Announced | None:
    timestamps = [packet.pts for packet in packets]
    # Decoders may give nothing for frames that are presented before the first key frame.
    if None in timestamps or len(set(timestamps)) < len(packets) or min(timestamps) != timestamps[0]:
        return None
    entries, is_closed = _entries(packets)
    top_layer = max(packet.picture.layer for packet in packets)
    shown = sorted(
        (packet for packet in packets if packet.picture.is_shown and not packet.is_discarded), key=lambda p: p.pts
    )
    table = dataclasses.replace(
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
    has_unordered_times = _has_unordered_times(packets, by_gop=blank.codec != "hevc")
    return Announced(table, _starts_cut_off(blank, packets), has_unordered_times)


def _starts_cut_off(blank: FrameTable, packets: Sequence[Packet]) -> bool:
    """Whether the first picture is none to start at by itself: the decoder may then drop some that follow it.

    Streams with open GOPs or intra refresh begin so where they were cut without decoding them.
    """
    return blank.codec in _WITH_NAL_UNITS and not packets[0].picture.is_entry


def _has_unordered_times(packets: Sequence[Packet], by_gop: bool) -> bool:
    """Whether there are B pictures and yet all are shown in the order of decoding.

    So it is where files without times of presentation (AVI, raw streams) were copied into MP4 or Matroska. There are
    encoders of B pictures that do not reorder; only decoding tells.

    Args:
        packets: All packets.
        by_gop: Whether to look at each group of pictures from a key frame on by itself.
    """
    has_b = is_reordered = False
    latest = packets[0].pts
    for packet in packets:
        if packet.is_key and by_gop:
            if has_b and not is_reordered:
                return True
            has_b = is_reordered = False
            latest = packet.pts
        has_b |= packet.picture.is_b
        is_reordered |= packet.pts < latest
        latest = max(latest, packet.pts)
    return has_b and not is_reordered


def _entries(packets: Sequence[Packet]) -> tuple[set[int], bool]:
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
