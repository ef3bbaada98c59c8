"""Worker processes: how they start and end, and a parallel map in which a hang costs a single item."""

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from itertools import chain, islice
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pebble import ProcessExpired, ProcessPool

from videonl.errors import MOST_SECONDS, MOST_WORKERS, UserError, require_within
from videonl.runtime.safe_path import start_safely

if TYPE_CHECKING:
    from videonl.runtime.cluster import Cluster

OUT_OF_TIME = "not done within"
CRASHED = "crashed the process that read it"
Item = TypeVar("Item")
Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # of prctl
_NUM_TASKS_PER_PROCESS = 500  # decoders leak a little; a fresh process costs nothing against so many files


class NoResult(NamedTuple):
    """Why a file has no result, in words; they begin with ``OUT_OF_TIME`` if it was stopped at the time limit."""

    reason: str


def require_limits(num_workers: int, limit_seconds: float) -> None:
    """Checks the number of processes and the time limit for :func:`map_limited`.

    Raises:
        UserError: Naming the option of the command line, ``num_workers`` or ``time_limit``.
    """
    require_within(1, MOST_WORKERS, num_workers=num_workers)
    if not 0 < limit_seconds <= MOST_SECONDS:
        raise UserError(f"time_limit must be above 0 and at most {MOST_SECONDS} seconds, got {limit_seconds:g}")


def map_limited(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    num_workers: int,
    limit_seconds: float,
    cluster: "Cluster | None" = None,
) -> Iterator[tuple[Item, Result | NoResult]]:
    """Apply a function to every item, in worker processes, with a time limit for each item.

    A process that exceeds the limit is killed, whatever it waits for, and replaced; so is one that crashes.

    Args:
        function: What to do; must be importable, as must the items.
        items: What to do it to.
        num_workers: Number of processes.
        limit_seconds: Time for each item.
        cluster: Whose workers start the processes, one for each of their threads; by default this machine does.

    Yields:
        Each item with what the function returned, or why it did not, as soon as it is known. An exception of the
        function's own is raised here: functions return what they expect to go wrong.
    """
    remaining = iter(items)
    first = list(islice(remaining, 1))
    if not first:  # nothing need be started
        return
    remaining = chain(first, remaining)
    if cluster is not None:
        yield from cluster.map_limited(function, remaining, limit_seconds)
        return
    pool = start_pool(num_workers, function.__module__)
    pending: dict[Future[Result], Item] = {}
    try:
        while True:
            # A few in advance keep every process busy; all of them would fill the memory.
            for item in islice(remaining, 2 * num_workers - len(pending)):
                pending[pool.schedule(function, args=[item], timeout=limit_seconds)] = item
            if not pending:
                break
            done = wait(pending, return_when=FIRST_COMPLETED).done
            for future in [future for future in pending if future in done]:  # of those, in the order of the items
                yield pending.pop(future), outcome_of(future, limit_seconds)
    finally:
        end_pool(pool)


def start_pool(num_workers: int, module: str) -> ProcessPool:
    """Processes that end with this one; each serves many items before it is replaced.

    Args:
        num_workers: How many.
        module: What they import before they start.
    """
    context = _KeepingLocks(safe_context(module))
    environment = [dict(os.environ)]  # credentials may have been set since the server that forks workers began
    return ProcessPool(num_workers, _NUM_TASKS_PER_PROCESS, initializer=_start, initargs=environment, context=context)


def end_pool(pool: ProcessPool) -> None:
    """Kill its processes, whatever they do."""
    pool.stop()  # type: ignore[no-untyped-call]  # pebble leaves it without types
    pool.join()


def outcome_of(future: "Future[Any]", limit_seconds: float) -> Any:
    """What a process of a pool returned, or why it did not; an exception of the function is raised."""
    try:
        return future.result()
    except TimeoutError:
        return NoResult(f"{OUT_OF_TIME} {limit_seconds:g} seconds")
    except ProcessExpired as error:
        return NoResult(f"{CRASHED} (exit code {error.exitcode})")


class _KeepingLocks:
    """A context whose locks last as long as it does.

    A pool that is stopped drops its own before its processes have ended, and one that is only just starting, as where
    there are fewer files than processes, would not find them and print a traceback.
    """

    def __init__(self, context: BaseContext) -> None:
        self._context = context
        self._locks: list[Any] = []

    def RLock(self) -> Any:  # noqa: N802  # the name that contexts have for it
        self._locks.append(self._context.RLock())
        return self._locks[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def safe_context(*modules: str) -> BaseContext:
    """Starts processes that are not forks of this one; they should call :func:`end_with_starter`.

    A fork of a process with threads inherits the locks that these hold at that moment, such as the C library's while
    gloo's or NCCL's threads start, and may then hang before it runs a line. So, on Linux, a server without threads
    forks them, which imports, once, what takes long; elsewhere each begins anew.

    Args:
        modules: What the processes need, by name; counts for the first processes of a program.

    Raises:
        UserError: No process can be started, most likely as each would begin by running the whole script again.
    """
    start_safely()
    if sys.platform != "linux":
        return get_context("spawn")
    _start_server(modules)
    return get_context("forkserver")


@functools.cache
def _start_server(modules: tuple[str, ...]) -> None:
    """Start it where Ctrl-C, which reaches every process of the terminal, ends neither it nor what it forks."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # else the server's start would start it, which lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    main = sys.modules["__main__"]
    if getattr(main, "__file__", "") == "<stdin>":
        del main.__file__  # each process would look for that file, to import it
    # Wait until it has imported everything: who is interrupted meanwhile leaves no half-started worker to complain.
    first = context.Process(target=int, daemon=True)
    first.start()
    first.join()
    if first.exitcode:
        raise UserError(
            "no worker process could be started; see the reason above. "
            "A script must do its work below `if __name__ == '__main__':`, as each process imports it"
        )


def end_with_starter() -> None:
    """Have this process end with the one that started it, in a safe context, even where that is killed; on Linux.

    Nothing else would end it: its parent is the server, which lives as long as it does.
    """
    starter = parent_process()
    if sys.platform != "linux" or starter is None:
        return
    import fcntl  # other systems have none

    # When the starter's end of this pipe is closed, the system sends SIGIO, which ends a process.
    flags = fcntl.fcntl(starter.sentinel, fcntl.F_GETFL)
    fcntl.fcntl(starter.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(starter.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    if not starter.is_alive():  # it ended before the lines above
        os._exit(1)


def end_with_parent() -> None:
    """Have this fork killed when its parent ends, even where that is killed; on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    end_with_starter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the main one answers
