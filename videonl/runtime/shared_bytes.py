"""Bytes that are in memory once, however many processes have them."""

import os
import sys
from collections.abc import Callable
from mmap import PROT_READ, mmap
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any


class SharedBytes:
    """Bytes of which processes that are started with them, on Linux, get no copy.

    They are not in ``/dev/shm``, as tensors would be: containers keep that small, and batches need it.

    Args:
        content: The bytes, at least one.
    """

    _handle: int | None = None

    def __init__(self, content: bytes) -> None:
        self.view = memoryview(content)
        if sys.platform == "linux":
            handle = os.memfd_create("videonl")
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(content)
            self._map(handle)

    def __reduce__(self) -> tuple[Callable[..., "SharedBytes"], tuple[Any]]:
        if self._handle is None or get_spawning_popen() is None:
            return SharedBytes, (bytes(self.view),)
        return _received, (reduction.DupFd(self._handle),)

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def _map(self, handle: int) -> None:
        self._handle = handle
        self.view = memoryview(mmap(handle, 0, prot=PROT_READ))


def _received(sent: Any) -> SharedBytes:
    shared = SharedBytes.__new__(SharedBytes)
    shared._map(sent.detach())
    return shared
