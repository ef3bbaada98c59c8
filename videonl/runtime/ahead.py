"""Work that runs in a thread ahead of whoever uses its results."""

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Generator[Item, None, None], most: int) -> Generator[Item, None, None]:
    """Runs a generator in a thread of its own, ahead of the item that is used.

    What the generator raises is raised here, after the items before it. The thread and the generator end when this
    iterator is exhausted, closed or forgotten.

    Args:
        items: Does the work; it releases Python's lock while it does, or nothing is gained.
        most: How many items may wait to be used, at least 1; one more is in the making.

    Yields:
        The items, in their order.
    """
    done: queue.SimpleQueue[tuple[Item] | BaseException | None] = queue.SimpleQueue()
    free, is_over = threading.Semaphore(most), threading.Event()

    def work() -> None:
        end = None
        try:
            with contextlib.closing(items):
                for item in items:
                    free.acquire()
                    if is_over.is_set():
                        return
                    done.put((item,))
                    del item  # what is used up is not kept until the next is there
        except BaseException as error:
            end = error
        done.put(end)

    thread = threading.Thread(target=work, name="videonl-ahead", daemon=True)
    thread.start()
    try:
        while isinstance(result := done.get(), tuple):
            free.release()
            yield result[0]
            del result
        if result is not None:
            raise result
    finally:
        result = None  # an error and its traceback would hold each other
        is_over.set()
        free.release()
        thread.join()
