"""Frames of a video file by index, through one of several decoders.

Frame i is the i-th frame in presentation order of sequential decoding, whatever the header says. This is the only
address on which all tools agree; random access through container headers is off by one or more on many real files.
Every decoder returns that frame or raises a DecodingError: PyAV does so for all files, the others reject files on which
they would return another frame.
"""

import os
from collections.abc import Callable
from pathlib import Path

from videonl.data.reading.decord_reader import DecordReader, import_decord
from videonl.data.reading.frame_folder_reader import FrameFolderReader
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.pyav_reader import PyAVReader
from videonl.data.reading.scan import scan, table_of
from videonl.data.reading.segment import Place, SegmentReader, VideoPart, named_place
from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.shard_reader import open_member
from videonl.data.reading.torchcodec_reader import TorchCodecReader, import_torchcodec
from videonl.data.reading.video_reader import DecodingError, VideoReader, check_exists
from videonl.errors import UserError

__all__ = ["DECODERS", "DecodingError", "FrameTable", "VideoReader", "check_decoder", "open_video", "why_inexact"]

DECODERS: dict[str, Callable[[Path | str, FrameTable], VideoReader]] = {
    # Exact first, then fast: PyAV is exact everywhere, and nowhere did an exact decoder beat it by much (docs/readers).
    "auto": PyAVReader,
    "pyav": PyAVReader,
    "decord": DecordReader,
    "torchcodec": TorchCodecReader,
}
# Where frames of plain files were found to be the sequential ones.
_EXACT_CONTAINERS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"))
_NOT_IN_DECORD = frozenset(("av1",))


def check_decoder(decoder: str) -> None:
    """Raise a UserError unless ``decoder`` exists and is installed."""
    if decoder not in DECODERS:
        raise UserError(f"unknown decoder {decoder!r}. The decoders are: {', '.join(DECODERS)}.")
    if decoder == "decord":
        import_decord()
    if decoder == "torchcodec":
        import_torchcodec()


def why_inexact(decoder: str, table: FrameTable) -> str | None:
    """Why a decoder may return other frames than sequential decoding; None if it is exact.

    Args:
        decoder: A name in ``DECODERS``.
        table: The frame table of the file.
    """
    if DECODERS[decoder] is PyAVReader:
        return None
    if table.container not in _EXACT_CONTAINERS:
        return f"its container {table.container} does not store when frames are shown"
    if not table.by_timestamp or not table.is_plain:
        return "it has hidden, damaged or reordered frames around its key frames"
    if decoder == "decord" and table.codec in _NOT_IN_DECORD:
        return f"decord does not support {table.codec}"
    return None


def open_video(path: Place | str, decoder: str = "auto", known: FrameTable | None = None) -> VideoReader:
    """Open a video for reading frames.

    Args:
        path: The video file, a folder of frames, a place in a shard, or a part of either, as ``match.mp4#t=11.9,21.2``.
        decoder: A name in ``DECODERS``.
        known: The frame table from an earlier scan, which makes opening fast; ignored if the size of the file changed.
            By default the packets of the file are listed, once per process as long as the file does not change.

    Raises:
        UserError: There is no such decoder.
        DecodingError: The file cannot be read as a video, or the decoder would give other frames of it.
    """
    check_decoder(decoder)
    path = named_place(path) if isinstance(path, str | Path) else path
    if isinstance(path, VideoPart):
        return _open_part(path, decoder, known)
    if isinstance(path, ShardMember):
        return open_member(path, lambda copy: open_video(copy, decoder, known or scan(copy)))
    if os.path.isdir(path):
        return FrameFolderReader(path)
    check_exists(path)
    is_same = known is not None and known.file_size_bytes == path.stat().st_size
    table = known if known is not None and is_same else table_of(path)
    reason = why_inexact(decoder, table)
    if reason:
        raise DecodingError(path, f"{decoder} is not exact on it: {reason}. Use the decoder auto")
    return DECODERS[decoder](path, table)


def _open_part(part: VideoPart, decoder: str, known: FrameTable | None) -> SegmentReader:
    try:
        reader = open_video(part.file, decoder, known)
    except DecodingError as error:
        raise type(error)(str(part), error.reason) from error
    try:
        return SegmentReader(part, reader)
    except DecodingError:
        reader.close()
        raise
