"""The torchcodec backend: optional, needs FFmpeg's shared libraries on the machine."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.orientation import with_reflection
from videonl.data.reading.scan import find_orientation
from videonl.data.reading.video_reader import DecodingError, VideoReader
from videonl.errors import UserError


class TorchCodecReader(VideoReader):
    """Reads with torchcodec. Which files it is exact on, ``decoding.why_inexact`` says.

    Args:
        path: The video file.
        table: Its frames.

    Raises:
        DecodingError: torchcodec cannot open the file, or counts other frames.
        UserError: torchcodec or FFmpeg's shared libraries are not installed.
    """

    def __init__(self, path: Path | str, table: FrameTable) -> None:
        super().__init__(path, table)
        self._orientation = find_orientation(self.path, table)
        decoders = import_torchcodec()
        with self._reporting():
            self._decoder = decoders.VideoDecoder(
                str(path),
                stream_index=table.stream_index,
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                seek_mode="exact",
            )
            num_frames = len(self._decoder)
        if num_frames != self.num_frames:
            reason = f"torchcodec counts {num_frames} frames, but there are {self.num_frames}; use the decoder pyav"
            raise DecodingError(self.path, reason)

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        self._check_indices(indices)
        with self._reporting():
            frames: torch.Tensor = self._decoder.get_frames_at(list(indices)).data
        return with_reflection(frames, self._orientation)

    def close(self) -> None:
        """Release the file."""
        self._decoder = None

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, IndexError) as error:
            first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            reason = f"torchcodec cannot decode it ({first_line}); the decoder pyav may"
            raise DecodingError(self.path, reason) from error


def import_torchcodec() -> Any:
    """Import torchcodec's decoders, or raise a UserError."""
    try:
        from torchcodec import decoders
    except ImportError as error:
        raise UserError(
            'the decoder torchcodec is not installed. Use pyav, or: pip install "videonl[torchcodec]"'
        ) from error
    except (RuntimeError, OSError) as error:
        raise UserError("torchcodec does not find FFmpeg's shared libraries. Use pyav, or install FFmpeg") from error
    return decoders
