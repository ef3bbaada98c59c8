"""``python forking.py``: has imported everything, and runs each command line that it is told of in a fork of its own.

A line of stdin is a JSON list: the words, a folder, and how many seconds they may take. What is printed goes to
``FOLDER/printed``, the traceback of what reached the top to ``FOLDER/raised``; the answer is the exit code, negative
for a signal. No gradient is ever computed in this process: after one, its forks could compute none.
"""

import contextlib
import json
import os
import pkgutil
import resource
import signal
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path

from lightning.fabric.utilities.warnings import PossibleUserWarning

import videonl
from videonl.cli.main import main

MOST_BYTES = 8 * 2**30


def run(words: list[str], folder: Path) -> int:
    """In the fork: within some memory, as the leader of its own processes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    file = (folder / "printed").open("w")
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    sys.stdout = sys.stderr = file
    try:
        os.chdir(folder)
        return main(words)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    except BaseException:
        (folder / "raised").write_text(traceback.format_exc())
        return 99
    finally:
        file.flush()


def exit_code(words: list[str], folder: str, limit_seconds: int) -> int:
    """Runs them in a fork, of whose own processes none is left."""
    child = os.fork()
    if not child:
        os.setsid()
        signal.alarm(limit_seconds)
        os._exit(run(words, Path(folder)))
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for module in pkgutil.walk_packages(videonl.__path__, "videonl."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    warnings.simplefilter("error")
    warnings.simplefilter("default", PossibleUserWarning)  # what Lightning says to the user
    for line in sys.stdin:
        print(exit_code(*json.loads(line)), flush=True)
