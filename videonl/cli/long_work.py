"""The number of processes of commands that work through many files."""

import os

from videonl.errors import UserError


def workers_here(num_workers: int | None, cluster: str | None) -> int:
    """The processes of this machine: those asked for, or one for each core that this process may use.

    Raises:
        UserError: A number is asked for, and a cluster, which has its own.
    """
    if num_workers is not None and cluster is not None:
        raise UserError("--num-workers is for this machine, and --cluster has workers of its own; give one of them")
    if num_workers is not None:
        return num_workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
