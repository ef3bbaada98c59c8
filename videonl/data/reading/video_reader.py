"""The interface of every decoder, and their common error."""

import itertools
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch
from typing_extensions import Self

from videonl.data.reading.frame_table import FrameTable
from videonl.errors import UserError

Read = TypeVar("Read")
_READ_AT_ONCE = 16  # frames, of readers that have no pass of their own


class DecodingError(UserError):
    """A video file that yields no usable frames.

    Args:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["DecodingError"], tuple[str, str]]:
        # The default would call the constructor with the message alone, and fail on the way out of a worker process.
        return type(self), (self.path, self.reason)


class FewerFramesError(DecodingError):
    """A file that turned out, on reading, to have other frames than its packets announced, as a rule fewer.

    Its reader has counted them since: choose frames anew.
    """


class VideoReader(ABC):
    """An open video, a context manager. Frame i is the i-th in presentation order of sequential decoding.

    Args:
        path: The video file.
        table: Its frames.

    Raises:
        DecodingError: The table is that of another file.
    """

    def __init__(self, path: Path | str, table: FrameTable) -> None:
        self.path = Path(path)
        self.table = table
        check_exists(self.path)
        if self.path.stat().st_size != table.file_size_bytes:
            raise DecodingError(self.path, "has changed since its frames were listed; list them again")

    @property
    def name(self) -> str:
        """What messages call the video; :attr:`path` may be a copy of it that no message should name."""
        return str(self.path)

    @property
    def num_frames(self) -> int:
        """Number of frames, at least 1."""
        return self.table.num_frames

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        return self.table.fps

    @property
    def duration_seconds(self) -> float:
        """From the first frame's appearance to the last one's end."""
        return self.table.duration_seconds

    @property
    def timestamps_seconds(self) -> torch.Tensor:
        """When each frame is shown, float64 ``(num_frames,)``; the first at 0."""
        return self.table.timestamps_seconds

    @abstractmethod
    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """Decode frames; indices may repeat and come in any order.

        Returns:
            uint8 RGB ``(T, H, W, 3)``, upright, in the order of ``indices``.

        Raises:
            IndexError: An index is negative or not below ``num_frames``.
            FewerFramesError: ``num_frames`` is less than it was, and an index no longer below it.
            DecodingError: A frame cannot be decoded.
        """

    def frames(self, indices: Sequence[int]) -> Iterator[torch.Tensor]:
        """Decode frames one by one, in one pass over the file; memory does not grow with their number.

        Each is the frame that :meth:`read` gives, to the bit. Where the file turns out to be damaged on the way, its
        frames are counted anew, as :meth:`read` does, and the pass ends with an error even if the indices left exist:
        the frames that were given may have another number now. Begin again (:func:`with_recount`).

        Args:
            indices: Frames in rising order, none twice.

        Returns:
            An iterator over uint8 RGB ``(H, W, 3)``, upright; close it to stop early.

        Raises:
            IndexError: An index is negative or not below ``num_frames``.
            ValueError: The indices do not rise.
            FewerFramesError: The file has other frames than its packets announced.
            DecodingError: A frame cannot be decoded.
        """
        self._check_indices(indices)
        if any(map(operator.ge, indices, itertools.islice(indices, 1, None))):
            raise ValueError("the frames of a pass must be asked for in rising order, none twice")
        return self._pass_over(indices) if len(indices) else iter(())

    def _pass_over(self, indices: Sequence[int]) -> Iterator[torch.Tensor]:
        for start in range(0, len(indices), _READ_AT_ONCE):
            yield from self.read(indices[start : start + _READ_AT_ONCE])

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_indices(self, indices: Sequence[int]) -> None:
        for index in indices:
            if not 0 <= index < self.num_frames:
                raise IndexError(f"{self.name}: frame {index} requested, but the video has {self.num_frames}")


def with_recount(read: Callable[[], Read]) -> Read:
    """Choose and read frames, and repeat if their number turned out to be smaller.

    So a clip that meets damage is read, whether or not the damage was known before.

    Args:
        read: Chooses frames by the reader's ``num_frames``, and reads them.
    """
    try:
        return read()
    except FewerFramesError:
        return read()


def check_exists(path: Path) -> None:
    """Raise a DecodingError unless there is a file that is not empty."""
    if not os.path.isfile(path):
        raise DecodingError(path, "no such file")
    if not path.stat().st_size:
        raise DecodingError(path, "the file is empty")
