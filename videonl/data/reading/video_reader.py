"""The interface of every decoder, and their common error."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch
from typing_extensions import Self

from videonl.data.reading.frame_table import FrameTable
from videonl.errors import UserError

Read = TypeVar("Read")


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
    """A file that turned out to have fewer frames than its packets announced; its reader is updated."""


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
                raise IndexError(f"{self.path}: frame {index} requested, but the video has {self.num_frames}")


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
