"""The decord backend: optional, and exact on few formats."""

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


class DecordReader(VideoReader):
    """Reads with decord 0.6, not available on ARM. Which files it is exact on, ``decoding.why_inexact`` says.

    Args:
        path: The video file.
        table: Its frames.

    Raises:
        DecodingError: decord cannot open the file, or counts other frames.
        UserError: decord is not installed.
    """

    def __init__(self, path: Path | str, table: FrameTable) -> None:
        super().__init__(path, table)
        self._orientation = find_orientation(self.path, table)
        decord = import_decord()
        with self._reporting():
            self._reader = decord.VideoReader(str(path), num_threads=1)
            num_frames = len(self._reader)
        if num_frames != self.num_frames:
            reason = f"decord counts {num_frames} frames, but there are {self.num_frames}; use the decoder pyav"
            raise DecodingError(self.path, reason)

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        self._check_indices(indices)
        with self._reporting():
            batch = self._reader.get_batch(list(indices))
        # Importing pytorchvideo.data makes decord return torch tensors, for the whole process.
        frames = batch if isinstance(batch, torch.Tensor) else torch.from_numpy(batch.asnumpy())
        if frames.ndim != 4 or frames.shape[-1] != 3:
            raise DecodingError(
                self.path, f"decord returns frames of shape {tuple(frames.shape)}; use the decoder pyav"
            )
        return with_reflection(frames, self._orientation)

    def close(self) -> None:
        """Release the file."""
        self._reader = None

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        decord = import_decord()
        try:
            yield
        except (decord.DECORDError, RuntimeError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise DecodingError(self.path, f"decord cannot decode it ({first_line}); the decoder pyav may") from error


def import_decord() -> Any:
    """Import decord, quietly, or raise a UserError."""
    try:
        import decord
    except ImportError as error:
        raise UserError("the decoder decord is not installed. Use pyav, or: pip install decord (x86 only)") from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord
