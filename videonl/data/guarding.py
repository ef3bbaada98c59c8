"""Reading clips so that a bad file does no harm."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch.utils.data import get_worker_info

from videonl.data.decoding import DecodingError
from videonl.data.shard_member import ShardMember
from videonl.data.time_limit import EndedCallError, TimeLimited

Key = TypeVar("Key")


class Guarded(Generic[Key]):
    """Reads clips so that a bad file is a :class:`DecodingError` and nothing worse.

    Args:
        read: From a key to clips ``(N, C, T, H, W)``.
        limit_seconds: How long that may take in a worker of a data loader, where another process does it; ``None`` for
            ever. A file that once took longer is not tried again by the same worker.
    """

    def __init__(self, read: Callable[[Key], torch.Tensor], limit_seconds: float | None) -> None:
        self.read = read
        self._limited: TimeLimited[Key] | None = None
        if limit_seconds is not None and TimeLimited.is_available():
            self._limited = TimeLimited(self._read_innermost, limit_seconds)
        self._ended: dict[Path | ShardMember, str] = {}

    def __call__(self, path: Path | ShardMember, key: Key) -> torch.Tensor:
        """Read the clips of a key, which are in the file ``path``."""
        if path in self._ended:
            raise DecodingError(str(path), self._ended[path])
        try:
            if self._limited is None or get_worker_info() is None:
                return self.read(key)
            return self._limited(key).permute(0, 4, 1, 2, 3)  # (N, T, H, W, C) -> (N, C, T, H, W)
        except OSError as error:
            raise DecodingError(str(path), f"cannot be read ({error.strerror or error})") from error
        except EndedCallError as ended:
            self._ended[path] = str(ended)
            raise DecodingError(str(path), str(ended)) from ended

    def _read_innermost(self, key: Key) -> torch.Tensor:
        return self.read(key).permute(0, 2, 3, 4, 1)  # (N, C, T, H, W) -> (N, T, H, W, C)
