"""Bytes: how many a computation takes, how many it would take, and how many there are."""

import contextlib
import ctypes
import gc
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

STATUS = Path("/proc/self/status")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of malloc.h
MAPPED_BYTES = 2**17  # the size from which glibc maps blocks at first, until it learns to keep them
MOST_MAPPED = 2**16  # as glibc has it, where no one has told it to keep what is freed


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """How many bytes more than before are in use at the worst moment of some work.

    On CUDA these are the allocator's own. On CPUs it is resident memory: Linux counts its high-water mark, which is set
    back first; elsewhere the mark cannot be set back, and work that stays below what the process once held reads as 0.
    The C library is told to keep no freed memory, from now on: reused it would not be counted, and holes between used
    blocks would be. That makes it slow, so times are taken before.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    _keep_no_freed_memory()
    before = _resident_mark(reset=True)
    work()
    return max(_resident_mark() - before, 0)


def _keep_no_freed_memory() -> None:
    """Has glibc return what it holds, and map every larger block by itself; other C libraries stay as they are."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_MAX, MOST_MAPPED)
            library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
            library.mallopt(M_TRIM_THRESHOLD, MAPPED_BYTES)
            library.malloc_trim(0)


def family_bytes() -> int:
    """Memory of this process and of all that descend from it, pages that they share counted once. Linux only.

    Pages of files, such as the code of libraries, are left out: who else has them mapped changes from hour to hour.
    """
    return sum(_share_bytes(process) for process in _family())


def _family() -> list[int]:
    family = [os.getpid()]
    for process in family:  # it grows on the way
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            for task in Path(f"/proc/{process}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
    return family


def _share_bytes(process: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return 0


def _resident_mark(*, reset: bool = False) -> int:
    if not STATUS.exists():
        import resource  # Unix alone has it

        mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return mark if os.uname().sysname == "Darwin" else mark * 1024
    if reset:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:  # a sandbox may forbid it; the mark then still holds what the process took to start
            return _status("VmRSS")
    return _status("VmHWM")


def _status(field: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def free_bytes(device: torch.device) -> int | None:
    """Memory that a new process could take without swapping; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = meminfo.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def predicted_bytes(work: Callable[[], object]) -> int:
    """Peak of the tensors alive during some work on the ``meta`` device, where they have sizes and no memory."""
    live = _LiveBytes()
    with live:
        work()
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.now = self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, storage.nbytes()).atexit = False

    def _free(self, num_bytes: int) -> None:
        self.now -= num_bytes
