"""What is accepted as a video: a file, a folder of frames, or decoded frames."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from videonl.data.reading.array_reader import ArrayReader, Frames
from videonl.data.reading.decoding import VideoReader, open_video
from videonl.data.reading.shard_member import is_url, remote_video

VideoLike: TypeAlias = str | Path | Frames | Sequence[Frames]


def is_frames(video: Any) -> bool:
    """Whether it is decoded frames: one array, or a list of single frames."""
    if isinstance(video, list | tuple):
        return bool(video) and all(is_frames(frame) and frame.ndim == 3 for frame in video)
    return isinstance(video, np.ndarray | torch.Tensor)


def open_any(video: VideoLike, decoder: str = "auto", fps: float | None = None) -> VideoReader:
    """Opens a video for reading frames.

    Args:
        video: A file or its URL, a folder of frames, or decoded frames, uint8 RGB (T, H, W, 3).
        decoder: Who decodes a file.
        fps: Of decoded frames.

    Raises:
        UserError: There is no such decoder, or the frames are of another shape or type.
        DecodingError: The file cannot be read as a video.
    """
    if isinstance(video, str) and is_url(video):
        return open_video(remote_video(video), decoder)
    if isinstance(video, str | Path):
        return open_video(os.path.expanduser(video), decoder)
    return ArrayReader(video, fps)


def name_of(video: VideoLike) -> str:
    """What a video is called."""
    return str(video) if isinstance(video, str | Path) else "frames"
