import gc
import threading
import time
from collections.abc import Generator

import pytest

from videonl.runtime.ahead import ahead


def num_threads() -> int:
    return sum(thread.name == "videonl-ahead" for thread in threading.enumerate())


def counted(log: list[int], num_items: int, error: Exception | None = None) -> Generator[int, None, None]:
    try:
        for number in range(num_items):
            log.append(number)
            yield number
        if error:
            raise error
    finally:
        log.append(-1)


def test_items_come_in_order_from_another_thread() -> None:
    threads = []

    def work() -> Generator[int, None, None]:
        for number in range(97):
            threads.append(threading.current_thread())
            yield number

    assert list(ahead(work(), most=3)) == list(range(97))
    assert threading.main_thread() not in threads
    assert num_threads() == 0


@pytest.mark.parametrize("most", [1, 5])
def test_it_runs_ahead_but_no_further_than_it_is_told(most: int) -> None:
    log: list[int] = []
    items = ahead(counted(log, 31), most)
    assert log == []  # nothing runs before it is used
    assert next(items) == 0
    until = time.monotonic() + 10
    while len(log) < most + 2 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    assert log == list(range(most + 2))  # the one in use, those that wait, and one that is made
    items.close()
    assert log[-1] == -1
    assert num_threads() == 0


def test_errors_arrive_after_the_items_before_them() -> None:
    got: list[int] = []
    log: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        got.extend(ahead(counted(log, 7, ValueError("broken")), most=2))
    assert got == list(range(7))
    assert num_threads() == 0


def test_whoever_uses_it_may_fail_or_forget_it() -> None:
    log: list[int] = []
    with pytest.raises(ZeroDivisionError):
        any(1 / (3 - number) for number in ahead(counted(log, 31), most=2) if number > 2)
    gc.collect()
    assert num_threads() == 0
    next(ahead(counted(log, 31), most=2))
    gc.collect()
    assert num_threads() == 0
