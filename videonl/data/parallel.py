"""One function over many files, in processes that may hang or crash without stopping the rest."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from itertools import islice
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from typing import NamedTuple, TypeVar

from pebble import ProcessExpired, ProcessPool

OUT_OF_TIME = "not done within"
Item = TypeVar("Item")
Result = TypeVar("Result")
_NUM_TASKS_PER_PROCESS = 500  # decoders leak a little; a fresh process costs nothing against so many files


class NoResult(NamedTuple):
    """Why a file has no result, in words; they begin with ``OUT_OF_TIME`` if it was stopped at the time limit."""

    reason: str


def map_limited(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int, limit_seconds: float
) -> Iterator[tuple[Item, Result | NoResult]]:
    """Apply a function to every item, in worker processes, with a time limit for each item.

    A process that exceeds the limit is killed, whatever it waits for, and replaced; so is one that crashes.

    Args:
        function: What to do; must be importable, as must the items.
        items: What to do it to.
        num_workers: Number of processes.
        limit_seconds: Time for each item.

    Yields:
        Each item with what the function returned, or why it did not, as soon as it is known. An exception of the
        function's own is raised here: functions return what they expect to go wrong.
    """
    pool = ProcessPool(num_workers, _NUM_TASKS_PER_PROCESS, initializer=_ignore_interrupts, context=_context(function))
    remaining = iter(items)
    pending: dict[Future[Result], Item] = {}
    try:
        while True:
            # A few in advance keep every process busy; all of them would fill the memory.
            for item in islice(remaining, 2 * num_workers - len(pending)):
                pending[pool.schedule(function, args=[item], timeout=limit_seconds)] = item
            if not pending:
                break
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), _outcome(future.result, limit_seconds)
    finally:
        pool.stop()  # type: ignore[no-untyped-call]  # pebble leaves it without types
        pool.join()


def _outcome(result: Callable[[], Result], limit_seconds: float) -> Result | NoResult:
    try:
        return result()
    except TimeoutError:
        return NoResult(f"{OUT_OF_TIME} {limit_seconds:g} seconds")
    except ProcessExpired as error:
        return NoResult(f"crashed the process that read it (exit code {error.exitcode})")


def _context(function: Callable[..., object]) -> BaseContext:
    # Forks of this process would inherit its threads' locks. A server that has imported what takes long forks at once.
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([function.__module__, "videonl.data.decoding"])
    return context


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the main one alone answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
