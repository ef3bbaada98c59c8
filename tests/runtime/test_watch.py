"""Processes that watch each other: forks of this one, on the loopback."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest

from videonl.runtime.watch import GONE, Watch

FORK = multiprocessing.get_context("fork")  # pickles nothing, and starts at once
Work = Callable[[Watch], None]


def take_part(rank: int, world_size: int, addresses: list[tuple[Connection, Connection]], work: Work) -> None:
    watch = Watch(rank, world_size, local_rank=rank)
    if rank == 0:
        address = watch.listen()
        for _, sending in addresses[1:]:
            sending.send(address)
        watch.accept()
    else:
        watch.connect("127.0.0.1", *addresses[rank][0].recv())
    work(watch)


def codes(*works: Work) -> list[int | None]:
    """The exit codes of processes that do these works."""
    addresses = [FORK.Pipe(duplex=False) for _ in works]
    processes = [
        FORK.Process(target=take_part, args=(rank, len(works), addresses, work)) for rank, work in enumerate(works)
    ]
    for process in processes:
        process.start()
    until = time.monotonic() + 30
    # Not join: it would wait for their forks too.
    while time.monotonic() < until and any(process.exitcode is None for process in processes):
        time.sleep(0.01)
    still = [process for process in processes if process.is_alive()]
    for process in still:
        process.kill()
        process.join()
    assert not still
    return [process.exitcode for process in processes]


def wait(watch: Watch) -> None:
    time.sleep(60)


def finish(watch: Watch) -> None:
    watch.finish()


def finish_late(watch: Watch) -> None:
    time.sleep(0.5)
    watch.finish()


def die(watch: Watch) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_leaving_a_worker(watch: Watch) -> None:
    """As a process may whose own code forks."""
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    die(watch)


def fail(watch: Watch) -> None:
    watch.fail("failed: the disk is full", code=2)
    os._exit(2)


def fail_for_another(watch: Watch) -> None:
    time.sleep(0.5)
    watch.fail("failed: connection closed by peer")
    os._exit(77)  # is not reached


@pytest.mark.parametrize("works", [(finish, finish_late, finish), (finish_late, finish, finish)])
def test_processes_that_finish_one_after_the_other_are_let_alone(works: tuple[Work, ...]) -> None:
    assert codes(*works) == [0, 0, 0]


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("death", [die, die_leaving_a_worker])
def test_a_killed_process_ends_the_others(rank: int, death: Work, capfd: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    ended = codes(*[death if rank == number else wait for number in range(3)])
    assert ended == [-signal.SIGKILL if rank == number else 1 for number in range(3)]
    assert time.monotonic() - started < 5
    assert capfd.readouterr().err == f"videonl: error: process {rank} of 3 {GONE}\n"


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_failed_process_ends_the_others_with_its_reason(rank: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert codes(*[fail if rank == number else wait for number in range(3)]) == [2, 2, 2]
    assert capfd.readouterr().err == f"videonl: error: process {rank} of 3 failed: the disk is full\n"


def test_what_fails_because_of_another_process_is_not_given_as_the_reason(capfd: pytest.CaptureFixture[str]) -> None:
    assert codes(fail_for_another, die, fail_for_another) == [1, -signal.SIGKILL, 1]
    assert capfd.readouterr().err == f"videonl: error: process 1 of 3 {GONE}\n"


def test_a_stranger_is_not_counted_as_a_process() -> None:
    hub, member = Watch(0, 2), Watch(1, 2)
    port, word = hub.listen()
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b'{"word": "a guess", "rank": 1}\n')
        member.connect("127.0.0.1", port, word)
        hub.accept()
        assert stranger.recv(1) == b""
    for watch in (hub, member):
        watch.finish()
        watch._close()


_LATE = """
import os, sys, time
while os.getppid() == int(sys.argv[1]):
    time.sleep(0.01)  # what is imported takes so long that the process that started this one is gone by now
from videonl.runtime.watch import end_with_launcher
end_with_launcher()
print("lives on")
"""


def start_and_die(environment: dict[str, str]) -> None:
    number = str(os.getpid())
    given = {name: value or number for name, value in environment.items()}
    subprocess.Popen([sys.executable, "-c", _LATE, number], env=os.environ | given)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such end elsewhere")
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LOCAL_RANK": "1", "VIDEONL_LAUNCHER": ""}, ""),
        ({"VIDEONL_STARTER": ""}, ""),
        ({"LOCAL_RANK": "1"}, "lives on\n"),  # started by torchrun or a scheduler, which ends it itself
    ],
)
@pytest.mark.parametrize("is_waited_for", [True, False])  # until then, the system keeps what is left of the starter
def test_a_process_ends_whose_starter_died_while_it_imported(
    environment: dict[str, str], said: str, is_waited_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOCAL_RANK", "VIDEONL_LAUNCHER", "VIDEONL_STARTER"):
        monkeypatch.delenv(name, raising=False)
    ours, theirs = os.pipe()
    with os.fdopen(ours) as output:
        kept = os.dup(1)
        os.dup2(theirs, 1)
        os.close(theirs)
        starter = FORK.Process(target=start_and_die, args=(environment,))
        starter.start()
        os.dup2(kept, 1)
        os.close(kept)
        if is_waited_for:
            starter.join()
        assert output.read() == said  # to the end of the last process that could write there
    starter.join()
