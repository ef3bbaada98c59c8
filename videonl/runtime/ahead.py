"""Work that runs in a thread ahead of whoever uses its results."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Generator[Item, None, None], most: int) -> Iterator[Item]:
    """Runs a generator in a thread of its own, at most some items ahead of the one that is used.

    What the generator raises is raised here, after the items before it. The thread ends, and with it the generator,
    when the iterator is exhausted, closed or forgotten.

    Args:
        items: Does the work; releases Python's lock while it does, or nothing is gained.
        most: How many items wait to be used; one more is being made.

    Yields:
        The items, in their order.
    """
    done: queue.SimpleQueue[tuple[Item | None, BaseException | None]] = queue.SimpleQueue()
    free, is_over = threading.Semaphore(most), threading.Event()

    def work() -> None:
        failure: BaseException = StopIteration()
        try:
            with contextlib.closing(items):
                for item in items:
                    free.acquire()
                    if is_over.is_set():
                        return
                    done.put((item, None))
        except BaseException as error:
            failure = error
        done.put((None, failure))

    thread = threading.Thread(target=work, name="videonl-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, failure = done.get()
            if failure is not None:
                if isinstance(failure, StopIteration):
                    return
                raise failure
            yield item  # type: ignore[misc]  # an item, as there is no failure
            del item  # the next is waited for without it
            free.release()
    finally:
        is_over.set()
        free.release()
        thread.join()
