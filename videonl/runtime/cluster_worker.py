"""What runs in a Dask worker: an item, in a process of its own that can be killed."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from multiprocessing import current_process
from typing import Any, NamedTuple, TypeVar

from pebble import ProcessPool

from videonl import __version__
from videonl.errors import UserError
from videonl.files import BusyError
from videonl.runtime.parallel import NoResult, end_pool, outcome_of, start_pool

Item = TypeVar("Item")
Result = TypeVar("Result")
_IDLE_SECONDS = 60  # after which the processes of a worker end
_POLL_SECONDS = 0.5


class Expected(NamedTuple):
    """What every worker must have.

    Attributes:
        version: Of videonl.
        folders: That it must see.
    """

    version: str
    folders: tuple[str, ...]

    def refusal(self, worker: str, version: str) -> str:
        """What is said of a worker with another version."""
        return (
            f"worker {worker} of the cluster has videonl {version}, and this is {self.version}; install the same "
            "version in both places"
        )

    def check(self, worker: str) -> None:
        """Refuses a worker.

        Raises:
            UserError: It has another version of videonl, or does not see a folder.
        """
        if __version__ != self.version:
            raise UserError(self.refusal(worker, __version__))
        for folder in self.folders:
            if not os.path.isdir(folder):
                raise UserError(no_folder(worker, folder))


def no_folder(worker: str, folder: str) -> str:
    """What is said of a worker that does not see a folder."""
    return f"worker {worker} of the cluster sees no folder {folder}; mount it there under the same path"


def limited(
    function: Callable[[Item], Result], item: Item, limit_seconds: float, expected: Expected
) -> Result | NoResult:
    """Applies a function to an item, in a thread of a Dask worker, as map_limited does.

    Args:
        function: What to do.
        item: What to do it to.
        limit_seconds: Time for it.
        expected: What this worker must have.

    Returns:
        What the function returned, or why it did not.

    Raises:
        UserError: This worker cannot do the work.
    """
    from distributed import get_worker

    worker = get_worker()
    expected.check(worker.address)
    until = time.monotonic() + limit_seconds
    with _pools.used_by(worker, function.__module__) as pool:
        while True:
            try:
                outcome: Result | NoResult = _result(pool, function, item, limit_seconds)
                return outcome
            except BusyError:  # a worker that was lost has yet to let go of the file
                if time.monotonic() > until:
                    raise
                time.sleep(_POLL_SECONDS)


def _result(pool: ProcessPool, function: Callable[[Item], Result], item: Item, limit_seconds: float) -> Any:
    """The outcome; if nobody wants it any longer, as when the command was killed, the process is killed too."""
    future = pool.schedule(function, args=[item], timeout=limit_seconds)
    while not wait([future], timeout=_POLL_SECONDS).done:
        if not _is_wanted():
            future.cancel()  # type: ignore[no-untyped-call]  # pebble leaves it without types
            return NoResult("canceled")
    return outcome_of(future, limit_seconds)


def _is_wanted() -> bool:
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state != "cancelled"


class _Pools:
    """The processes of each worker in this process; they end when they have been idle for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, ProcessPool] = {}
        self._num_users: Counter[str] = Counter()
        self._idle_since: dict[str, float] = {}

    @contextmanager
    def used_by(self, worker: Any, module: str) -> Iterator[ProcessPool]:
        """The processes of a worker, one for each of its threads."""
        with self._lock:
            self._num_users[worker.id] += 1
            if worker.id not in self._pools:
                current_process().daemon = False  # else a worker with a nanny may start no process
                self._pools[worker.id] = start_pool(worker.state.nthreads, module)
                threading.Thread(target=self._end_when_idle, args=[worker.id], daemon=True).start()
            pool = self._pools[worker.id]
        try:
            yield pool
        finally:
            with self._lock:
                self._num_users[worker.id] -= 1
                self._idle_since[worker.id] = time.monotonic()

    def _end_when_idle(self, worker: str) -> None:
        pool = None
        while pool is None:
            time.sleep(_IDLE_SECONDS / 2)
            with self._lock:
                is_idle = not self._num_users[worker] and time.monotonic() - self._idle_since[worker] > _IDLE_SECONDS
                pool = self._pools.pop(worker) if is_idle else None
        end_pool(pool)


_pools = _Pools()
