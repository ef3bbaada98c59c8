"""A time limit that ends even a call that hangs in native code: the call is made in a process that can be killed.

Threads and signals cannot end a decoder that loops, and a data loader loses all its workers with the first one killed.
So every worker has a child that decodes for it, and another child that does nothing but bring up the next one::

    worker --- asks ---> nursery --- forks ---> child, and sends the worker a socket to it
    worker --- key ----> child
    worker <-- array --- child       or nothing in time: the worker kills the child and asks for another

The nursery is forked before the worker has threads and never has any itself, so that its forks are safe. A process
that may have threads has a safe context start it.
"""

import contextlib
import math
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import BaseContext
from typing import Any, BinaryIO, Generic, NoReturn, ParamSpec, TypeVar, cast

import torch

from videonl.errors import UserError
from videonl.runtime.parallel import end_with_parent, end_with_starter

Key = TypeVar("Key")
P = ParamSpec("P")
_ASK = b"?"
_PID = struct.Struct("i")


class EndedCallError(Exception):
    """A call that gave no result, and why."""


class ChildTracebackError(Exception):
    """Where in the child an exception came from, as text."""


class TimeLimited(Generic[Key]):
    """Calls a function in a process of its own, which is killed when a call takes too long. Linux only.

    The process starts with the first call, as a copy of this one as it was then or at :meth:`start`; what changes here
    later does not reach it.

    Args:
        function: From a key, which is pickled, to a uint8 tensor, whose layout in memory is kept. Its exceptions are
            raised here.
        seconds: How long a call may take.
        context: Makes what starts the processes, as :func:`videonl.runtime.parallel.safe_context`; the function is
            then pickled. By default they are forks of this process, which must not have threads.
    """

    def __init__(
        self,
        function: Callable[[Key], torch.Tensor],
        seconds: float,
        context: Callable[[], BaseContext] | None = None,
    ) -> None:
        self.function = function
        self.seconds = seconds
        self.context = context
        self._nursery: socket.socket | None = None
        self._child: _Child | None = None

    @staticmethod
    def is_available() -> bool:
        """Whether this system supports it."""
        return sys.platform == "linux"

    def __call__(self, key: Key) -> torch.Tensor:
        """Call the function.

        Raises:
            EndedCallError: It took too long, or its process died of it.
            UserError: The process that starts others is gone.
        """
        nursery = self.start()
        if self._child is None:
            self._child = _Child(nursery, self.seconds)
        try:
            result, error, trace = self._child.call(key)
        except TimeoutError:
            os.kill(self._child.pid, signal.SIGKILL)  # its socket is open, so the number is still its own
            reason = f"took longer than {self.seconds:g} seconds, and the process that decoded it was ended"
        except (EOFError, BrokenPipeError, ConnectionResetError):
            reason = "the process that decoded it died"
        else:
            if error is not None:
                raise error from ChildTracebackError(trace)
            return result
        self._child.close()
        self._child = None
        raise EndedCallError(reason)

    def start(self) -> socket.socket:
        """Start what starts the process, as the first call does: for those who have threads by then."""
        if self._nursery is None:
            self._nursery = _start_nursery(self.function, self.context)
        return self._nursery

    def close(self) -> None:
        """End the processes; the next call starts new ones. They end with this process too."""
        for end in (self._child, self._nursery):
            if end is not None:
                end.close()
        self._child = self._nursery = None


class _Child:
    """This side of a process that serves calls."""

    def __init__(self, nursery: socket.socket, seconds: float) -> None:
        try:
            nursery.sendall(_ASK)
            message, (handle, memory), _, _ = socket.recv_fds(nursery, _PID.size, 2)
        except (ConnectionError, ValueError) as error:  # no fault of the file's, and no other could be read
            raise UserError("a worker process was killed, most likely because memory ran out") from error
        (self.pid,) = _PID.unpack(message)
        with socket.socket(fileno=handle) as end:
            end.settimeout(seconds)
            self._stream = _stream(end)
        self._memory = _Memory(memory)

    def call(self, key: object) -> tuple[torch.Tensor, Exception | None, str]:
        pickle.dump(key, self._stream)
        self._stream.flush()
        shape, strides, error, trace = pickle.load(self._stream)
        return self._memory.tensor(shape, strides).clone(), error, trace

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what was not sent yet can go nowhere
            self._stream.close()
        os.close(self._memory.handle)


def _start_nursery(function: Callable[[Key], torch.Tensor], context: Callable[[], BaseContext] | None) -> socket.socket:
    ours, theirs = socket.socketpair()
    if context is not None:
        _start_alone(context(), theirs, function)
    elif not os.fork():
        ours.close()
        _forked(_nurse, theirs, function)
    theirs.close()
    return ours


def _start_alone(context: Any, worker: socket.socket, function: Callable[[Key], torch.Tensor]) -> None:
    # Credentials may have been set since the server that forks processes began.
    context.Process(target=_nurse_alone, args=(worker, function, dict(os.environ)), daemon=True).start()


def _nurse_alone(
    worker: socket.socket, function: Callable[[Key], torch.Tensor], environment: Mapping[str, str]
) -> None:
    """What a process of a safe context does."""
    os.environ.update(environment)
    end_with_starter()
    torch.set_num_threads(1)  # the network has the cores
    with contextlib.suppress(ConnectionError):  # the one that asks is gone
        _nurse(worker, function)


def _nurse(worker: socket.socket, function: Callable[[Key], torch.Tensor]) -> None:
    """Bring up a child whenever asked; return when the worker is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    while worker.recv(1):
        ours, theirs = socket.socketpair()
        memory = os.memfd_create("clip")
        pid = os.fork()
        if not pid:
            worker.close()
            theirs.close()
            _forked(_serve, ours, memory, function)
        socket.send_fds(worker, [_PID.pack(pid)], [theirs.fileno(), memory])
        ours.close()
        theirs.close()
        os.close(memory)


def _serve(worker: socket.socket, memory: int, function: Callable[[Key], torch.Tensor]) -> None:
    """Answer calls; end with an EOFError when the worker is gone."""
    stream, shared = _stream(worker), _Memory(memory)
    while True:
        key = pickle.load(stream)
        try:
            result = function(key)
            shared.grow(result.numel())
            strides = torch.empty_like(result, device="meta").stride()  # its own, if it has no gaps
            shared.tensor(result.shape, strides).copy_(result)
            header = pickle.dumps((tuple(result.shape), strides, None, ""))
        except Exception as error:
            header = pickle.dumps(((0,), (1,), error, traceback.format_exc()))
        stream.write(header)
        stream.flush()


def _forked(work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> NoReturn:
    """What a forked process does: its work, and nothing of what its parent would do at its end."""
    try:
        end_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent answers it
        work(*args, **kwargs)
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _stream(end: socket.socket) -> BinaryIO:
    return cast(BinaryIO, end.makefile("rwb"))


class _Memory:
    """Memory that worker and child share, mapped once and again when it has grown."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._mapped = torch.empty(0, dtype=torch.uint8)

    def grow(self, num_bytes: int) -> None:
        if num_bytes > len(self._mapped):
            os.ftruncate(self.handle, num_bytes)

    def tensor(self, shape: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
        size = math.prod(shape)
        if size > len(self._mapped):
            self._mapped = torch.frombuffer(mmap.mmap(self.handle, size), dtype=torch.uint8)
        return self._mapped.as_strided(tuple(shape), tuple(strides))
