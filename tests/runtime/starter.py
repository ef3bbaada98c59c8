"""``python starter.py files|busy loader|idle loader``: starts two processes, prints their numbers, and is killed."""

import os
import signal
import sys
import threading
import time
from multiprocessing import active_children

from videonl.runtime.parallel import map_limited, safe_context

NUM_PROCESSES = 2


class Slow:
    """Items that take a thousand seconds, all but the first two."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> int:
        time.sleep(1000 if index >= NUM_PROCESSES else 0)
        return index


def die() -> None:
    """When both are up."""
    while len(active_children()) < NUM_PROCESSES:
        time.sleep(0.01)
    time.sleep(1)  # they begin their work
    print(*[child.pid for child in active_children()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == "files":
        # First what starts processes: the thread asks for them, and the end of the first one is told to one asker only.
        safe_context(time.sleep.__module__)
        threading.Thread(target=die).start()
        list(map_limited(time.sleep, [1000, 1000], num_workers=NUM_PROCESSES, limit_seconds=1000))

    from torch.utils.data import DataLoader

    from videonl.data.loader import worker_options

    items = Slow() if sys.argv[1] == "busy loader" else range(NUM_PROCESSES)
    for done, _ in enumerate(DataLoader(items, batch_size=1, **worker_options(NUM_PROCESSES)), start=1):
        if done == NUM_PROCESSES:
            die()
