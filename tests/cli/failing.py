"""``python failing.py HOW RANK fit ...``: the command line, with one process that ends at step 2."""

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
    if module.global_step != 2 or module.global_rank != int(rank):
        return
    print(f"failed at {time.time()}", flush=True)
    if how == "mistake":
        raise UserError("a mistake in one process")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    ClipModule.on_train_batch_start = fail_when_due  # type: ignore[method-assign]
    sys.exit(main(sys.argv[3:]))
