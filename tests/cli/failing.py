"""``python failing.py HOW RANK fit ...``: the command line, one process of which ends, or is told to, at batch 2.

HOW is ``mistake``, ``death``, or a signal: ``SIGTERM`` for the process that launched the others, ``SIGTERM-all``.
"""

import os
import signal
import sys
import time
from typing import Any

from videonl.cli.main import main
from videonl.errors import UserError
from videonl.training import ClipModule


def fail_when_due(module: ClipModule, batch: Any, batch_idx: int) -> None:
    how, rank = sys.argv[1:3]
    if batch_idx != 2 or module.global_rank != int(rank):
        return
    print(f"failed at {time.time()}", flush=True)
    if how == "mistake":
        raise UserError("a mistake in one process")
    if how == "death":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(3)  # meanwhile the other waits within a step, where Python's handlers do not run
    name, _, is_for_all = how.partition("-")
    if is_for_all:  # as a terminal does, and a scheduler
        os.killpg(0, signal.Signals[name])
    else:
        os.kill(os.getppid() if module.global_rank else os.getpid(), signal.Signals[name])


if __name__ == "__main__":
    # Even where these tests run in the background of a shell, which lets Ctrl-C be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for step in ("train", "validation", "test", "predict"):
        setattr(ClipModule, f"on_{step}_batch_start", fail_when_due)
    sys.exit(main(sys.argv[3:]))
