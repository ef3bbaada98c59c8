"""What the first bytes of coded pictures say: whether a picture is shown, and which others need it.

Containers flag key frames, but not always frames at which decoding may start, and never those that nobody refers to.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_H264_IDR = 5
_H264_PICTURE_TYPES = range(1, 6)
_START_CODE = re.compile(rb"\x00\x00\x01")
_HEADERS_BYTES = 4096  # parameter sets and messages before the first slice of a picture take less
_HEVC_RANDOM_ACCESS_TYPES = range(16, 24)
_HEVC_NUM_PICTURE_TYPES = 32
_VOP_START = b"\x00\x00\x01\xb6"
_PACKED_BY = re.compile(rb"DivX\d+(?:b|Build)\d+p")
# FFmpeg takes no smaller packet for a picture where it has one in store: MAX_NVOP_SIZE in its h263dec.c.
_LARGEST_PLACEHOLDER_BYTES = 19


class Picture(NamedTuple):
    """What is read from one packet.

    Args:
        is_shown: Whether a frame comes of it; ``None`` where it holds no valid picture.
        is_entry: Whether decoding may start here.
        layer: Temporal layer, from 0.
        is_reference: Whether pictures of the same or a higher layer may refer to it.
        is_b: Whether it may be a B picture, which is decoded after one that is shown later.
    """

    is_shown: bool | None = True
    is_entry: bool = True
    layer: int = 0
    is_reference: bool = True
    is_b: bool = False


def nal_length_size(codec: str, extradata: bytes | None) -> int | None:
    """Bytes of the length before each NAL unit in MP4 and Matroska, or None where units are separated otherwise.

    ISO/IEC 14496-15: ``lengthSizeMinusOne`` of the avcC and hvcC records.
    """
    position = {"h264": 4, "hevc": 21}.get(codec)
    if position is None or not extradata or len(extradata) <= position or extradata[0] != 1:
        return None
    return (extradata[position] & 3) + 1


def h264_picture(data: memoryview, length_size: int | None) -> Picture:
    """ITU-T H.264, 7.3.1 and 7.3.3: ``nal_ref_idc``, ``nal_unit_type``, and ``slice_type`` of the first slice."""
    units = [unit for unit in _nal_headers(data, length_size) if unit[0] & 31 in _H264_PICTURE_TYPES]
    headers = [unit[0] for unit in units]
    return Picture(
        is_shown=True if headers else None,
        is_entry=any(header & 31 == _H264_IDR for header in headers),
        is_reference=any(header >> 5 & 3 for header in headers),
        # ue(v) of first_mb_in_slice 0 is 1; of slice_type B, 010, or 00111 where all slices are of that type.
        is_b=any(unit[1] >> 4 == 0b1010 or unit[1] >> 2 == 0b100111 for unit in units),
    )


def hevc_picture(data: memoryview, length_size: int | None) -> Picture:
    """ITU-T H.265, 7.3.1.2 and table 7-1: even types below 16 are not referred to within their temporal layer.

    Any picture may be a B picture: low-delay encoders have no others. The sequence header tells whether they reorder.
    """
    headers = [unit for unit in _nal_headers(data, length_size) if unit[0] >> 1 & 63 < _HEVC_NUM_PICTURE_TYPES]
    types = [unit[0] >> 1 & 63 for unit in headers]
    return Picture(
        is_shown=True if types else None,
        is_entry=any(kind in _HEVC_RANDOM_ACCESS_TYPES for kind in types),
        layer=max((unit[1] & 7 for unit in headers), default=1) - 1,
        is_reference=any(kind > 14 or kind % 2 for kind in types),
        is_b=any(kind not in _HEVC_RANDOM_ACCESS_TYPES for kind in types),
    )


def _nal_headers(data: memoryview, length_size: int | None) -> Iterator[memoryview]:
    """The first two bytes of every NAL unit; where start codes separate them, of those at the packet's beginning."""
    if length_size is None:
        for match in _START_CODE.finditer(data[:_HEADERS_BYTES]):
            if match.end() + 2 <= len(data):
                yield data[match.end() : match.end() + 2]
        return
    start = 0
    while start + length_size + 2 <= len(data):
        length = int.from_bytes(data[start : start + length_size], "big")
        start += length_size
        if length >= 2:
            yield data[start : start + 2]
        start += length


def vp8_picture(data: memoryview) -> Picture:
    """RFC 6386, 9.1: bit 4 of the frame tag is ``show_frame``; alternative reference frames are hidden."""
    return Picture(is_shown=bool(data[0] >> 4 & 1))


def vp9_picture(data: memoryview) -> Picture:
    """VP9 bitstream specification, 6.2: ``show_existing_frame``, ``show_frame``; a superframe ends in a shown one."""
    if data[-1] >> 5 == 0b110:
        return Picture()
    bits = f"{int.from_bytes(bytes(data[:2]).ljust(2, bytes(1)), 'big'):016b}"
    if bits[:2] != "10":
        return Picture(is_shown=None)
    position = 5 if bits[2:4] == "11" else 4  # one reserved bit in profile 3
    show_existing, show = bits[position], bits[position + 2]
    return Picture(is_shown="1" in (show_existing, show))


class MPEG4Packet(NamedTuple):
    """What is read from one packet of MPEG-4 part 2.

    Args:
        size_bytes: Size of the packet.
        picture_types: ``I``, ``P``, ``B`` or ``S`` for each picture in it.
        starts_sequence: Whether it begins with a new sequence header.
        says_packed: Whether the encoder says in it that it packs B pictures.
    """

    size_bytes: int
    picture_types: str
    starts_sequence: bool
    says_packed: bool


def mpeg4_packet(data: memoryview) -> MPEG4Packet:
    """ISO/IEC 14496-2, 6.2.5: the two bits behind a start code of a picture are its type."""
    coded = [data[match.end()] for match in re.finditer(re.escape(_VOP_START), data) if match.end() < len(data)]
    first_start = re.search(rb"\x00\x00\x01(.)", data, re.DOTALL)
    starts_sequence = first_start is not None and first_start[1] == b"\xb0"
    return MPEG4Packet(
        len(data), "".join("IPBS"[byte >> 6] for byte in coded), starts_sequence, bool(_PACKED_BY.search(data))
    )


def mpeg4_packets_with_frame(packets: Sequence[MPEG4Packet], num_macroblocks: int) -> list[bool] | None:
    """Which packets of an MPEG-4 part 2 stream FFmpeg turns into a frame each, or None where only decoding tells.

    Encoders for AVI, a format without reordering, pack a P and a B picture into one packet and send a placeholder
    later. FFmpeg (``libavcodec/h263dec.c``) keeps the second picture and decodes it in place of what the next packet
    begins with. A picture still kept at the end is lost, one kept when a new sequence begins too.
    """
    is_packed = any(packet.says_packed for packet in packets[:1])
    with_frame = []
    is_kept = False
    num_references = 0
    for packet in packets:
        if len(packet.picture_types) > 1 and not is_packed:
            return None
        for kind in packet.picture_types:
            if kind == "B" and num_references < 2:
                return None  # cut off from what it refers to, FFmpeg drops it
            num_references += kind != "B"
        is_kept = is_kept and not packet.starts_sequence
        # Start code, header, and at least one bit per macroblock; without those it is a placeholder for nothing.
        is_coded = bool(packet.picture_types) and packet.size_bytes >= 4 + (19 + num_macroblocks) / 8
        if is_coded and not is_kept and packet.size_bytes <= _LARGEST_PLACEHOLDER_BYTES:
            return None
        with_frame.append(is_kept or is_coded)
        left = packet.picture_types if is_kept else packet.picture_types[1:]
        is_kept = is_packed and left[:1] in ("I", "B")
    return with_frame
