"""The decord backend: optional, and exact on plain H.264 in MP4 only."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from videonl.data.video_reader import ClosingReader, DecodingError, check_exists, check_indices
from videonl.errors import UserError


class DecordReader(ClosingReader):
    """Reads with decord 0.6: fast, but not exact on every format (see ``decoding``), and not available on ARM.

    Args:
        path: The video file.

    Raises:
        DecodingError: The file is missing, empty, or not a video that decord can open.
        UserError: decord is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        decord = import_decord()
        self.path = Path(path)
        check_exists(self.path)
        with self._reporting():
            self._reader = decord.VideoReader(str(path), num_threads=1)
            self.num_frames = len(self._reader)
            self.fps = float(self._reader.get_avg_fps())
        if self.num_frames < 1:
            raise DecodingError(self.path, "has a video stream but no frame in it")

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        check_indices(self.path, indices, self.num_frames)
        with self._reporting():
            batch = self._reader.get_batch(list(indices))
        # Importing pytorchvideo.data makes decord return torch tensors, for the whole process.
        frames = batch if isinstance(batch, torch.Tensor) else torch.from_numpy(batch.asnumpy())
        if frames.ndim != 4 or frames.shape[-1] != 3:
            raise DecodingError(
                self.path, f"decord returns frames of shape {tuple(frames.shape)}; use the decoder pyav"
            )
        return frames

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
