"""Frames of a video file by index, through one of several decoders.

Frame i is the i-th frame that sequential decoding produces. That is the one address all tools agree on; random access
through container headers is off by one or more on many real files. The PyAV backend keeps to it always; decord does on
plain H.264 in MP4, and not on AVI with packed B-frames, MPEG-PS or edit lists.
"""

from collections.abc import Callable
from pathlib import Path

from videonl.data.decord_reader import DecordReader, import_decord
from videonl.data.frame_folder_reader import FrameFolderReader
from videonl.data.pyav_reader import PyAVReader
from videonl.data.shard_member import ShardMember
from videonl.data.shard_reader import open_member
from videonl.data.video_reader import DecodingError, VideoReader
from videonl.errors import UserError

__all__ = ["DECODERS", "DecodingError", "VideoReader", "check_decoder", "open_video"]

DECODERS: dict[str, Callable[[Path | str], VideoReader]] = {"pyav": PyAVReader, "decord": DecordReader}


def check_decoder(decoder: str) -> None:
    """Raise a UserError unless ``decoder`` exists and is installed."""
    if decoder not in DECODERS:
        raise UserError(f"unknown decoder {decoder!r}. The decoders are: {', '.join(DECODERS)}.")
    if decoder == "decord":
        import_decord()


def open_video(path: Path | str | ShardMember, decoder: str = "pyav") -> VideoReader:
    """Open a video for reading frames.

    Args:
        path: The video file, a folder of frames, or a place in a shard.
        decoder: A name in ``DECODERS``.

    Raises:
        UserError: There is no such decoder.
        DecodingError: The file cannot be read as a video.
    """
    check_decoder(decoder)
    if isinstance(path, ShardMember):
        return open_member(path, DECODERS[decoder])
    if Path(path).is_dir():
        return FrameFolderReader(path)
    return DECODERS[decoder](path)
