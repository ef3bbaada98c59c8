"""What commands that work through many files share: a progress bar, and the number of processes."""

import os

from videonl.runtime.progress import progress_bar

__all__ = ["default_workers", "progress_bar"]


def default_workers() -> int:
    """One process for each core that this one may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
