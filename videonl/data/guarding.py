"""Reads clips such that a bad file does not stop a run."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch.utils.data import get_worker_info

from videonl.data.reading.decoding import DecodingError
from videonl.data.reading.segment import Place, whole_of
from videonl.data.reading.shard_member import ShardMember
from videonl.runtime.time_limit import EndedCallError, TimeLimited

Key = TypeVar("Key")
_READS_PER_TIDYING = 64


class Guarded(Generic[Key]):
    """Reads clips such that a bad file only raises a :class:`DecodingError`.

    Args:
        read: From a key to clips ``(N, C, T, H, W)``.
        limit_seconds: How long that may take in a worker of a data loader, where another process does it; ``None`` for
            ever. A file that once took longer is not tried again by the same worker.
    """

    def __init__(self, read: Callable[[Key], torch.Tensor], limit_seconds: float | None) -> None:
        self.read = read
        self._limited: TimeLimited[Key] | None = None
        if limit_seconds is not None and TimeLimited.is_available():
            self._limited = TimeLimited(self._read_and_tidy, limit_seconds)
        self._num_reads = 0
        self._ended: dict[Path | ShardMember, str] = {}

    def start(self) -> None:
        """Start the process that reads, if there is to be one: before this one has threads."""
        if self._limited is not None and get_worker_info() is not None:
            self._limited.start()

    def __call__(self, path: Place, key: Key) -> torch.Tensor:
        """Read the clips of a key, which are in ``path``."""
        file = whole_of(path)
        if file in self._ended:
            raise DecodingError(str(path), self._ended[file])
        try:
            if get_worker_info() is None:
                return self.read(key)
            if self._limited is None:
                return self._read_and_tidy(key)
            return self._limited(key)
        except OSError as error:
            raise DecodingError(str(path), f"cannot be read ({error.strerror or error})") from error
        except EndedCallError as ended:
            self._ended[file] = str(ended)
            raise DecodingError(str(path), str(ended)) from ended

    def _read_and_tidy(self, key: Key) -> torch.Tensor:
        """Read in a process that does nothing else, and does so for days."""
        clips = self.read(key)
        self._num_reads += 1
        if self._num_reads % _READS_PER_TIDYING == 0:
            give_back_freed_memory()
        return clips


def give_back_freed_memory() -> None:
    """Make glibc return free memory between used blocks to the system: by itself it only returns the end.

    Decoders' buffers of many sizes otherwise leave ever more holes.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
