"""What every decoder promises, and the error they share."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from typing_extensions import Self

from videonl.errors import UserError


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


class VideoReader(Protocol):
    """An open video, a context manager.

    Attributes:
        num_frames: Number of frames that may be asked for, at least 1.
        fps: Frames per second, on average.
    """

    num_frames: int
    fps: float

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """Decode frames; indices may repeat and come in any order.

        Returns:
            uint8 RGB ``(T, H, W, 3)``, upright, in the order of ``indices``.

        Raises:
            IndexError: An index is negative or not below ``num_frames``.
            DecodingError: A frame cannot be decoded.
        """

    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ClosingReader:
    """A reader that holds nothing to release."""

    def close(self) -> None:
        """Nothing stays open between reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_exists(path: Path) -> None:
    """Raise a DecodingError unless there is a file with something in it."""
    if not path.is_file():
        raise DecodingError(path, "no such file")
    if not path.stat().st_size:
        raise DecodingError(path, "the file is empty")


def check_indices(path: Path, indices: Sequence[int], num_frames: int) -> None:
    """Raise an IndexError for an index that no frame has."""
    for index in indices:
        if not 0 <= index < num_frames:
            raise IndexError(f"{path}: frame {index} asked for, but there are {num_frames}")
