"""Calls that hang, crash or fail in another process."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from videonl.data.reading.decoding import DecodingError
from videonl.errors import UserError
from videonl.runtime.parallel import safe_context
from videonl.runtime.time_limit import ChildTracebackError, EndedCallError, TimeLimited

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no time limit elsewhere")


def answer(key: str) -> torch.Tensor:
    if key == "hang":
        ctypes.PyDLL(None).sleep(1000)  # native code that keeps the interpreter's lock: no thread or signal ends it
    if key == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if key == "time out":
        raise TimeoutError("the network drive")
    if key == "refuse":
        raise DecodingError("a.mp4", "is no video")
    if key == "environment":
        return torch.tensor(list(os.environ["AWS_ACCESS_KEY_ID"].encode()), dtype=torch.uint8)
    if key == "pid":
        return torch.tensor(list(os.getpid().to_bytes(4, "little")), dtype=torch.uint8)
    if key == "innermost":
        return torch.arange(2 * 7 * 5 * 3 * 11, dtype=torch.uint8).view(2, 7, 5, 11, 3).permute(0, 4, 1, 2, 3)
    return torch.arange(2 * 3 * 5, dtype=torch.uint8).view(2, 3, 5)[..., ::2]


@pytest.fixture
def limited() -> Iterator[TimeLimited[str]]:
    calls = TimeLimited(answer, seconds=0.5)
    yield calls
    calls.close()


def pid_of(limited: TimeLimited[str]) -> int:
    return int.from_bytes(limited("pid").numpy().tobytes(), "little")


def ends(pid: int) -> bool:
    """Whether a process is gone within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


def test_it_has_the_environment_of_when_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are set after the server that forks processes began."""
    safe_context(__name__)
    for value in ("first", "another"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", value)
        calls = TimeLimited(answer, 60, lambda: safe_context(__name__))
        assert bytes(calls("environment").tolist()) == value.encode()
        calls.close()


def test_results_come_from_one_other_process(limited: TimeLimited[str]) -> None:
    assert torch.equal(limited("x"), answer("x"))
    assert pid_of(limited) == pid_of(limited) != os.getpid()


def test_results_keep_their_layout_in_memory(limited: TimeLimited[str]) -> None:
    assert limited("innermost").stride() == answer("innermost").stride()
    assert torch.equal(limited("innermost"), answer("innermost"))


def test_files_are_not_blamed_where_no_process_can_be_started(limited: TimeLimited[str]) -> None:
    pid = pid_of(limited)
    nursery = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(nursery, signal.SIGKILL)
    assert ends(pid)
    with pytest.raises(EndedCallError, match="died"):
        limited("x")
    for _ in range(2):
        with pytest.raises(UserError, match="a worker process was killed"):
            limited("x")


def test_a_call_that_hangs_is_ended_and_the_next_succeeds(limited: TimeLimited[str]) -> None:
    hung = pid_of(limited)
    begun = time.monotonic()
    with pytest.raises(EndedCallError, match=r"longer than 0\.5 seconds"):
        limited("hang")
    assert 0.5 <= time.monotonic() - begun < 5
    assert torch.equal(limited("x"), answer("x"))
    assert pid_of(limited) != hung
    assert ends(hung)


def test_a_crash_is_survived(limited: TimeLimited[str]) -> None:
    for _ in range(2):
        with pytest.raises(EndedCallError, match="died"):
            limited("crash")
        assert torch.equal(limited("x"), answer("x"))


def test_exceptions_come_through_with_their_traceback(limited: TimeLimited[str]) -> None:
    with pytest.raises(DecodingError, match=r"a\.mp4: is no video") as caught:
        limited("refuse")
    assert (caught.value.path, caught.value.reason) == ("a.mp4", "is no video")
    assert isinstance(caught.value.__cause__, ChildTracebackError)
    assert "in answer" in str(caught.value.__cause__)
    with pytest.raises(TimeoutError, match="the network drive"):  # the function's own
        limited("time out")
    assert torch.equal(limited("x"), answer("x"))


def test_no_process_stays_behind() -> None:
    calls = TimeLimited(answer, seconds=5)
    pid = pid_of(calls)
    calls.close()
    assert ends(pid)
