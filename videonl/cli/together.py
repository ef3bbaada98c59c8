"""How a command runs in several processes, as torchrun and srun start them, and how they end together."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from videonl.cli.ending import INTERRUPTED, TERMINATED, TerminatedError
from videonl.errors import IncompleteError, UserError
from videonl.runtime.launched import launched
from videonl.runtime.ranks import ALONE, Ranks, meet
from videonl.runtime.watch import Watch

_OTHERS_FIRST_SECONDS = 1.0


@contextmanager
def together() -> Iterator[Ranks]:
    """The processes of this command; they end together, however they end.

    A machine's first process says why; the others are silent about what is no fault of the program.

    Raises:
        UserError: The environment names processes in a way that cannot be, or they do not meet.
    """
    place = launched()
    if place is None:
        yield ALONE
        return
    ranks, watch = meet(place)
    if not ranks.is_first:
        logging.getLogger("videonl").setLevel(logging.ERROR)  # the first one says it, or lists it in the end
    try:
        yield ranks
        if not ranks.is_first:
            watch.wait()  # until the results are written
    except BaseException as error:
        if isinstance(error, IncompleteError) or _exit_code(error) == 0:  # all is written, or only help was asked for
            _finish(ranks, watch)
        else:
            _fail(ranks, watch, error)
        raise
    _finish(ranks, watch)


def own_device(name: str, ranks: Ranks) -> str:
    """The device of this process: the GPU of its number on its machine, unless the name has a number itself.

    Where fewer GPUs are seen than there are processes, they take turns: a scheduler may show each process its own one.
    """
    if ranks.world_size == 1 or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{ranks.local_rank % torch.cuda.device_count()}"


def _finish(ranks: Ranks, watch: Watch) -> None:
    watch.finish()
    if ranks.is_first:
        watch.wait()


def _fail(ranks: Ranks, watch: Watch, error: BaseException) -> None:
    """Tells the others, of which one says it, too; does not return where another process has ended before."""
    is_told = isinstance(error, KeyboardInterrupt | TerminatedError)
    if not (isinstance(error, UserError | SystemExit) or (is_told and ranks.is_first)):
        # Where another process was killed, what asks it fails, and that is not the reason. The watch hears of the death
        # at the same time, says so and ends this process. Where all are told to end, process 0 is first.
        time.sleep(_OTHERS_FIRST_SECONDS)
    reason, code = _reason(error), _exit_code(error)
    watch.fail(reason, code)
    if ranks.local_rank and (is_told or isinstance(error, UserError)):
        raise SystemExit(code) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "was interrupted"
    if isinstance(error, TerminatedError):
        return "was terminated"
    if isinstance(error, SystemExit):
        return "refused its command line"
    return f"failed: {error}" if isinstance(error, UserError) else f"failed: {error!r}"


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code or 0 if isinstance(error.code, int | None) else 1
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, TerminatedError):
        return TERMINATED
    return error.exit_code if isinstance(error, UserError) else 1
