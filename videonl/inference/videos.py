"""What is accepted as a video: a file, a folder of frames, or decoded frames."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from videonl.data.reading.array_reader import ArrayReader, Frames
from videonl.data.reading.decoding import VideoReader, open_video
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.limited_reader import LimitedDecoding
from videonl.data.reading.segment import Place, named_place
from videonl.runtime.time_limit import TimeLimited

FRAME_SECONDS = 600.0  # that commands give opening a video, or decoding its next frame
VideoLike: TypeAlias = str | Path | Frames | Sequence[Frames]


class Opener(Protocol):
    """Opens a video, whose frames may be known already."""

    def __call__(self, place: Place, known: FrameTable | None = None) -> VideoReader:  # noqa: D102  # the class says it
        ...


@contextmanager
def opening(decoder: str = "auto", time_limit_seconds: float | None = None) -> Iterator[Opener]:
    """How videos are opened, one after the other.

    Args:
        decoder: Who decodes.
        time_limit_seconds: How long opening a video or decoding its next frame may take, where another process decodes:
            see :class:`LimitedDecoding`. ``None`` for ever, in a thread of this process, as outside of Linux.
    """
    if time_limit_seconds is None or not TimeLimited.is_available():
        yield lambda place, known=None: open_video(place, decoder, known)
        return
    with LimitedDecoding(time_limit_seconds, decoder) as decoding:
        yield decoding.open


def is_frames(video: Any) -> bool:
    """Whether it is decoded frames: one array, or a list of single frames."""
    if isinstance(video, list | tuple):
        return bool(video) and all(is_frames(frame) and frame.ndim == 3 for frame in video)
    return isinstance(video, np.ndarray | torch.Tensor)


@contextmanager
def open_any(
    video: VideoLike, decoder: str = "auto", fps: float | None = None, time_limit_seconds: float | None = None
) -> Iterator[VideoReader]:
    """Opens a video for reading frames.

    Args:
        video: A file or its URL, a folder of frames, or decoded frames, uint8 RGB (T, H, W, 3).
        decoder: Who decodes a file.
        fps: Of decoded frames.
        time_limit_seconds: Of a file, as for :func:`opening`.

    Raises:
        UserError: There is no such decoder, or the frames are of another shape or type.
        DecodingError: The file cannot be read as a video.
    """
    if not isinstance(video, str | Path):
        with ArrayReader(video, fps) as reader:
            yield reader
        return
    place = named_place(os.path.expanduser(video))
    with opening(decoder, time_limit_seconds) as opener, opener(place) as reader:
        yield reader


def name_of(video: VideoLike) -> str:
    """What a video is called."""
    return str(video) if isinstance(video, str | Path) else "frames"
