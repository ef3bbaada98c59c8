"""Progress of long work."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from videonl.terminal import Console, Pace


@contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, or a line now and then; call what it yields with the number done and the total."""
    console = Console(stderr=True)
    if not console.is_terminal:
        pace = Pace()
        yield lambda done, total: tell(f"{verb}: {done} of {total}") if pace.is_due() else None
        return
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # Left to itself, rich would send to stderr what is printed meanwhile.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def tell(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)
