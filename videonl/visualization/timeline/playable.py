"""Videos as browsers can play them: the file itself where that will do, or else a small copy."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from torch import Tensor

from videonl.data.reading.container import ATTACHED_PICTURE, open_container, pixel_aspect
from videonl.data.reading.decoding import VideoReader, open_video
from videonl.data.reading.scan import find_orientation
from videonl.data.reading.segment import named_place, whole_of
from videonl.data.reading.url_path import UrlPath
from videonl.data.reading.video_reader import with_recount
from videonl.files import whole_path
from videonl.visualization.h264 import Look, write_h264

COPY_SHORT_SIDE_PX = 480
_COPY_CRF = 24
_CONTAINERS = {".mp4": "mov,mp4", ".m4v": "mov,mp4", ".webm": "matroska,webm"}  # as FFmpeg's names begin
# What Chrome, Firefox and Safari all decode; of H.264 with 8 bits and 4:2:0 alone.
_CODECS: dict[str, tuple[str, ...]] = {"h264": ("yuv420p", "yuvj420p"), "vp8": (), "vp9": (), "av1": ()}


class Played(NamedTuple):
    """A file for a page to play.

    Attributes:
        path: The file.
        offset_seconds: When its first frame is shown in the time of the player.
    """

    path: Path
    offset_seconds: float


def is_video(name: str) -> bool:
    """Whether there is a file, a folder of frames, or a part of either, that can be shown again; a URL is believed."""
    file = whole_of(named_place(name))
    return isinstance(file, UrlPath) or os.path.exists(str(file))


def as_it_is(name: str) -> Played | None:
    """The file itself where browsers can play it and show the stream that is read here."""
    path = Path(name)
    if path.suffix.lower() not in _CONTAINERS or not os.path.isfile(path):
        return None
    with open_container(path) as container:
        pictures = [stream for stream in container.streams.video if not stream.disposition & ATTACHED_PICTURE]
        is_named = container.format.name.startswith(_CONTAINERS[path.suffix.lower()])
        if not is_named or len(pictures) != 1 or not _is_decoded(pictures[0].codec_context):
            return None
        begin = (container.start_time or 0) / 1_000_000  # players count from where the first stream of any kind begins
    with open_video(path) as reader:
        table = reader.table
        first = table.timestamps_pts[0] * Fraction(*table.time_base)
    return Played(path, max(0.0, float(first) - begin))


def _is_decoded(codec: Any) -> bool:
    """Whether browsers have a decoder for a stream."""
    if codec is None or codec.codec.canonical_name not in _CODECS:
        return False
    formats = _CODECS[codec.codec.canonical_name]
    return not formats or codec.pix_fmt in formats


def write_copy(video: str, target: Path) -> Played:
    """Writes a small copy, H.264 in MP4 without sound, whose frames are shown when those of the video are.

    Raises:
        DecodingError: The video cannot be decoded.
        UserError: The copy cannot be written.
    """
    with open_video(video) as reader, whole_path(target) as unfinished:
        look = Look(_COPY_CRF, COPY_SHORT_SIDE_PX, aspect_of(reader))
        with_recount(lambda: write_h264(unfinished, timed_frames(reader), reader.fps, look))
    return Played(target, 0.0)


def timed_frames(reader: VideoReader) -> Iterator[tuple[float, Tensor]]:
    """When each frame of a video is shown, in seconds, and the frame (H, W, 3), one at a time."""
    return zip(reader.timestamps_seconds.tolist(), reader.frames(range(reader.num_frames)), strict=True)


def aspect_of(reader: VideoReader) -> Fraction | None:
    """Width over height of a pixel of the upright frames; None of square ones."""
    if not os.path.isfile(reader.path):
        return None
    transposed = find_orientation(reader.path, reader.table).transposed
    with open_container(reader.path) as container:
        return pixel_aspect(container.streams[reader.table.stream_index], transposed)


def relative_url(path: Path, page: Path) -> str:
    """How a page names a file: relative to its folder, so that both can be moved together."""
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(page.parent))
    return quote(os.fsencode(relative))
