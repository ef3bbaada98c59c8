"""The frames of a video as an encoder takes them: resized, upright, yuv420p, with times that go on."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch
from numpy.typing import NDArray

from videonl.data.reading.container import decode, find_video_stream, open_file, pixel_aspect, video_stream
from videonl.data.reading.frame_folder_reader import FrameFolderReader
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.orientation import Orientation, orientation_of, upright
from videonl.data.reading.pyav_reader import PyAVReader
from videonl.data.reading.scan import find_orientation, table_of

_FALLBACK_FPS = Fraction(25)


def upright_size(width: int, height: int, short_side_px: int) -> tuple[int, int]:
    """Width and height after resizing, both even.

    >>> upright_size(1920, 1080, 256), upright_size(121, 90, 256)
    ((456, 256), (120, 90))
    """
    scale = min(1.0, short_side_px / min(width, height))
    # Half to even would round 121 down and 123 up; either is half a pixel off.
    even_width, even_height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
    return even_width, even_height


def upright_frames(source: Path, short_side_px: int, frames: range | None = None) -> Iterator[Any]:
    """The frames in order, resized, upright, as yuv420p.

    Args:
        source: A video file or folder of frames.
        short_side_px: Length of the shorter side; smaller videos keep their size.
        frames: Which; by default all.
    """
    if source.is_dir():
        yield from _images(source, short_side_px, frames)
        return
    if frames is not None:
        with PyAVReader(source, table_of(source)) as reader:
            yield from (_upright(frame, short_side_px) for frame in reader.stored(frames))
        return
    with open_file(source) as container:
        stream = video_stream(container, find_video_stream(source, container))
        for frame in decode(container, stream):
            yield _upright(frame, short_side_px)


class SourceFacts(NamedTuple):
    """What an encoder is told of a source.

    Args:
        rate: Frames per second as the container says; 25 where it does not.
        pixel_aspect: Width over height of a pixel as it is shown; None of square ones.
        table: Its frames; None of a folder of frames.
    """

    rate: Fraction = _FALLBACK_FPS
    pixel_aspect: Fraction | None = None
    table: FrameTable | None = None


def source_facts(source: Path) -> SourceFacts:
    """Look at the header and the first frame.

    Raises:
        DecodingError: No frame can be decoded.
    """
    if source.is_dir():
        return SourceFacts()
    table = table_of(source)
    orientation = find_orientation(source, table)
    with open_file(source) as container:
        stream: Any = container.streams[table.stream_index]
        rate = stream.average_rate or stream.guessed_rate or _FALLBACK_FPS
        return SourceFacts(rate, pixel_aspect(stream, orientation.transposed), table)


def _images(folder: Path, short_side_px: int, frames: range | None) -> Iterator[Any]:
    with FrameFolderReader(folder) as reader:
        for index in frames or range(reader.num_frames):
            image = av.VideoFrame.from_ndarray(reader.read([index])[0].numpy(), format="rgb24")
            frame = _upright(image, short_side_px)
            frame.pts, frame.time_base = index, 1 / _FALLBACK_FPS
            yield frame


def _upright(frame: Any, short_side_px: int) -> Any:
    orientation = orientation_of(frame)
    width, height = upright_size(frame.width, frame.height, short_side_px)
    resized = frame.reformat(width, height, format="yuv420p", interpolation="BICUBIC")
    if orientation == Orientation():
        return resized
    shown = av.VideoFrame.from_ndarray(_upright_planes(resized.to_ndarray(), height, orientation), format="yuv420p")
    for name in ("pts", "time_base", "colorspace", "color_range"):
        setattr(shown, name, getattr(resized, name))
    return shown


def _upright_planes(planes: NDArray[np.uint8], height: int, orientation: Orientation) -> NDArray[np.uint8]:
    """Show yuv420p in an orientation: the planes Y, U and V stand one after another."""
    width = planes.shape[1]
    flat = torch.from_numpy(planes.reshape(-1))
    sizes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    parts = flat.split([rows * columns for rows, columns in sizes])
    shown = [upright(part.view(size), orientation) for part, size in zip(parts, sizes, strict=True)]
    return torch.cat([plane.reshape(-1) for plane in shown]).view(-1, shown[0].shape[1]).numpy()


def timed(frames: Iterator[Any], facts: SourceFacts, first: int = 0) -> Iterator[Any]:
    """Count time from the first frame, and see to it that it always goes on: some files repeat or lack timestamps.

    Args:
        frames: What is encoded.
        facts: Of their source.
        first: The number there of the first of them.
    """
    first_pts, last_pts = None, -1
    for index, frame in enumerate(frames, start=first):
        _set_time(frame, index, facts.table)
        if frame.pts is None:
            frame.pts = last_pts + max(1, round(1 / (facts.rate * frame.time_base))) if first_pts is not None else 0
        elif first_pts is None:
            first_pts = frame.pts
            frame.pts = 0
        else:
            frame.pts = max(frame.pts - first_pts, last_pts + 1)
        last_pts = frame.pts
        frame.pict_type = 0  # the source's key frames are not ours
        yield frame


def _set_time(frame: Any, index: int, table: FrameTable | None) -> None:
    """Where frames are told by their order, as in AVI, their own timestamps may be those of others."""
    if table is not None and not table.by_timestamp:
        frame.pts = table.timestamps_pts[index] if index < table.num_frames else None
        frame.time_base = Fraction(*table.time_base)
