"""``python interrupted.py STEP fit ...``: the command line, ended as by a power cut when it has made so many steps."""

import os
import sys
from typing import Any

from videonl.cli.main import main
from videonl.training import ClipModule

INTERRUPTED = 3


def stop_when_due(module: ClipModule, batch: Any, batch_idx: int) -> None:
    if module.global_step == int(sys.argv[1]):
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    ClipModule.on_train_batch_start = stop_when_due  # type: ignore[method-assign]  # the point of it
    sys.exit(main(sys.argv[2:]))
