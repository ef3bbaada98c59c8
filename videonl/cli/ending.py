"""How a command ends that is told to: with the exit codes that shells know, so that ``fit && test`` stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class TerminatedError(BaseException):
    """The process was told to end by SIGTERM, as job schedulers and containers do."""


@contextmanager
def raising_sigterm() -> Iterator[None]:
    """Within it SIGTERM raises :class:`TerminatedError`, so that temporary files and processes are seen to.

    Other handlers stay: whoever has one answers for it.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGTERM) is not _raise:  # a trainer has come before it, and ends after its step
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt the tidying up
    raise TerminatedError
