"""Ends all processes of a run when one of them is gone, so that none waits for it in vain.

A collective operation may wait half an hour for a process that has died, and what it then says is not why. So every
process holds a connection to process 0 that carries one message: how the process ended. Where it was killed, its
system closes the connection; where its machine is gone, the keep-alive of the others' systems finds out::

    1 ----- 0 ----- 2       2 dies: 0 is told, ends, and tells 1, which ends too
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from videonl.terminal import printable

GONE = "exited without reporting an error: it was killed, or its machine is gone"
DONE = {"done": True}
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}  # 30 seconds; names differ between systems
_LAST_WORDS_SECONDS = 10
_LAUNCHER = "VIDEONL_LAUNCHER"  # the environment's: number of the process that launched the others of its machine
STARTER = "VIDEONL_STARTER"  # number of the process that started this one, and ends it when it ends itself
_PR_SET_PDEATHSIG = 1  # of prctl


class Watch:
    """Ends this process when another one of the run ends without :meth:`finish`.

    Process 0 calls :meth:`listen`, hands the result to the others, and calls :meth:`accept` while they call
    :meth:`connect`.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
        local_rank: Number of this process on its machine; the first that is left there says why the run ends.
    """

    def __init__(self, rank: int, world_size: int, local_rank: int = 0) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self._connections: dict[int, socket.socket] = {}
        self._listeners: list[threading.Thread] = []
        self._over = False
        self._ending = False
        self._lock = threading.Lock()
        # In forks of this process, of whoever's making, they would stay open beyond its end.
        os.register_at_fork(after_in_child=self._close)

    def listen(self) -> tuple[int, str]:
        """The port at which process 0 waits for the others, and the word that it knows them by."""
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        self._server = socket.create_server(("", 0), family=family, backlog=self.world_size, dualstack_ipv6=both)
        self._word = secrets.token_hex()
        return self._server.getsockname()[1], self._word

    def accept(self, timeout_seconds: float = 60) -> None:
        """Waits until every other process is connected.

        Raises:
            TimeoutError: One has not come.
        """
        with self._server:
            while len(self._connections) < self.world_size - 1:
                self._server.settimeout(timeout_seconds)
                connection, _ = self._server.accept()
                connection.settimeout(timeout_seconds)
                greeting = _read(connection)
                if greeting.get("word") == self._word:
                    self._follow(greeting["rank"], connection)
                else:  # it is none of ours
                    connection.close()
        self._hear_all()  # not before: what one says must reach all

    def connect(self, host: str, port: int, word: str, timeout_seconds: float = 60) -> None:
        """Connects to process 0."""
        connection = socket.create_connection((host, port), timeout_seconds)
        _send(connection, {"word": word, "rank": self.rank})
        self._follow(0, connection)
        self._hear_all()
        _signal_with_parent(0)  # from here on it can say why it ends

    def finish(self) -> None:
        """Reports that this process is done."""
        self._end_with(DONE)

    def wait(self) -> None:
        """Waits until those that this process is connected to are done: process 0 for all, the others for process 0."""
        for listener in self._listeners:
            listener.join()

    def fail(self, reason: str, code: int = 1) -> None:
        """Reports that this process fails, with the reason that the others should give.

        Does not return where another process ended before, which is then the reason for this one's failure too.
        """
        self._end_with({"rank": self.rank, "reason": reason, "code": code})
        if self._ending:
            time.sleep(2 * _LAST_WORDS_SECONDS)  # meanwhile the listening thread ends the process

    def _end_with(self, message: dict[str, Any]) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
        for connection in self._connections.values():
            _send(connection, message)

    def _follow(self, rank: int, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._connections[rank] = connection

    def _hear_all(self) -> None:
        for heard in self._connections.items():
            self._listeners.append(threading.Thread(target=self._hear, args=heard, name="videonl-watch", daemon=True))
            self._listeners[-1].start()

    def _hear(self, rank: int, connection: socket.socket) -> None:
        message = _read(connection) or {"rank": rank, "reason": GONE, "code": 1}
        if message == DONE:
            return
        with self._lock:
            if self._over:
                return
            self._over = self._ending = True
        for other, connected in self._connections.items():
            if other != rank:
                _send(connected, message)
        # Process 0 ends when the one that failed has said its own words, and the others after it.
        _await_end(connection)
        if self.local_rank == 0 or (message["rank"] == 0 and self.local_rank == 1):
            which = f"process {message['rank']} of {self.world_size}"
            print(printable(f"videonl: error: {which} {message['reason']}"), file=sys.stderr)
        _end_process(message["code"])

    def _close(self) -> None:
        for connection in self._connections.values():
            # Not connection.close(): a file that a thread of the parent reads from would keep it open.
            os.close(connection.detach())
        self._connections = {}


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the other end may be gone
        connection.sendall(json.dumps(message).encode() + b"\n")


def _read(connection: socket.socket) -> dict[str, Any]:
    """The next message; empty if the other end is gone."""
    try:
        with connection.makefile("rb", buffering=0) as file:
            line = file.readline()
        return dict(json.loads(line)) if line.endswith(b"\n") else {}
    except (OSError, ValueError):
        return {}


def _await_end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.settimeout(_LAST_WORDS_SECONDS)
        connection.recv(1)


def _end_process(code: int) -> None:
    """Ends this process at once: its main thread may never come back from a collective operation."""
    try:
        for worker in multiprocessing.active_children():
            worker.kill()
        sys.stderr.flush()
    finally:  # whatever the main thread is doing with its workers at the same time
        os._exit(code)


def end_with_launcher() -> None:
    """Lets a process end with the one that started it, even where that ended before this call; on Linux.

    One that the run's first process launched is killed with it, until they watch each other; a run that a study started
    is told to end.
    """
    is_launched = os.environ.get("LOCAL_RANK", "0") != "0" and _LAUNCHER in os.environ
    name, number = (_LAUNCHER, signal.SIGKILL) if is_launched else (STARTER, signal.SIGTERM)
    starter = int(os.environ.get(name, 0))
    if starter == os.getppid():
        _signal_with_parent(number)
    if sys.platform == "linux" and starter not in (0, os.getppid()) and has_ended(starter):
        os.kill(os.getpid(), number)  # while this process imported what it needs
    os.environ[_LAUNCHER] = str(os.getpid())


def has_ended(process: int) -> bool:
    """Whether a process of this machine has ended, be it that the one that started it has not waited for it yet."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    with contextlib.suppress(OSError):  # it has ended since, or the system has no such file
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] in "ZX"  # proc(5); the name in parentheses may hold anything
    return False


def _signal_with_parent(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
