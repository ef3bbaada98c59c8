"""Frames that are decoded already, read like a video."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.video_reader import VideoReader
from videonl.errors import UserError, require_within

Frames: TypeAlias = torch.Tensor | NDArray[np.uint8]

_NOMINAL_FPS = 25.0  # where nobody says
_TICKS = 10**6  # units of time per second
_MOST_FPS = 10**5


class ArrayReader(VideoReader):
    """Reads an array as the frames of a video.

    Args:
        frames: uint8 RGB ``(T, H, W, 3)``, an array of numpy or a tensor.
        fps: Frames per second. It matters for clip formats in seconds, and for times.

    Raises:
        UserError: It is no such array.
    """

    def __init__(self, frames: Frames | Sequence[Frames], fps: float | None = None) -> None:
        require_within(1 / _MOST_FPS, _MOST_FPS, fps=fps)
        self.path = Path("frames")
        self._frames = as_frames(frames)
        rate = fps or _NOMINAL_FPS
        self.table = FrameTable(
            container="array",
            codec="rawvideo",
            stream_index=0,
            file_size_bytes=0,
            timestamps_pts=tuple(round(index * _TICKS / rate) for index in range(len(self._frames))),
            time_base=(1, _TICKS),
            nominal_fps=rate,
        )

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        self._check_indices(indices)
        return self._frames[list(indices)]

    def close(self) -> None:
        """Nothing is open."""


def as_frames(frames: Frames | Sequence[Frames]) -> torch.Tensor:
    """Decoded frames as a uint8 tensor ``(T, H, W, 3)``, without a copy where they are one array.

    Raises:
        UserError: They are something else; the message names shape and dtype.
    """
    try:
        whole = torch.stack([torch.as_tensor(frame) for frame in frames]) if isinstance(frames, list | tuple) else None
        tensor = torch.as_tensor(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else whole
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"these frames cannot be read as one array ({error}); give uint8 RGB (T, H, W, 3)") from error
    tensor = frames if tensor is None and isinstance(frames, torch.Tensor) else tensor
    if tensor is None or tensor.ndim != 4 or tensor.shape[-1] != 3 or tensor.dtype != torch.uint8 or not tensor.numel():
        found = type(frames).__name__ if tensor is None else f"{tensor.dtype} of shape {tuple(tensor.shape)}"
        raise UserError(f"frames must be uint8 RGB, (T, H, W, 3), got {found}")
    return tensor
