"""``videonl bench blocks``: every block beside plain forms of the same mathematics."""

import json as json_lines
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from videonl.benchmarks import (
    Case,
    Row,
    Setting,
    as_json,
    check,
    compare,
    grid_of,
    growth_table,
    machine,
    select_cases,
    table,
)
from videonl.benchmarks.busy import Others
from videonl.cli.refusals import require_at_least
from videonl.errors import MOST_SECONDS, MOST_WIDTH, UserError
from videonl.runtime.progress import tell
from videonl.terminal import Console, Pace

DTYPES = {"cpu": ("float32",), "cuda": ("float32", "bfloat16")}
_log = logging.getLogger(__name__)


def bench_blocks(
    positions: str = "784,3136,6272,25088",
    channels: int = 512,
    blocks: str = "all",
    device: Literal["all", "cpu", "cuda"] = "all",
    dtype: Literal["default", "float32", "bfloat16"] = "default",
    seconds: float = 3.0,
    json: bool = False,
) -> None:
    """Times the attention blocks against plain N x N implementations with the same weights, at batch 1.

    Both sides take turns, each in a process of its own. Times are medians of as many rounds as their spread asks for,
    after a first one; a ratio that may be off by more than a tenth is called unstable. Peak memory is that of a
    training step beyond features and parameters. Cases that do not fit into free memory are skipped. Before
    timing, the command checks at the smallest size that both sides agree.

    Args:
        positions: Numbers of positions, separated by commas. Multiples of 784 are frames of 28 x 28.
        channels: Channels of the features.
        blocks: Names separated by commas: gaussian, embedded_gaussian, dot_product, concatenation, apnb, afnb,
            criss_cross, axial, snl, gc, se; or names of single cases as --json prints them.
        device: ``all`` is the CPU, and CUDA if present.
        dtype: By default float32, and on CUDA bfloat16 as well.
        seconds: Time for the rounds of both sides, once for steps and once for forwards; three are always made.
        json: Print one JSON object per line, as soon as it is measured, instead of tables.
    """
    cases = select_cases([] if blocks == "all" else [name.strip() for name in blocks.split(",")])
    sizes = _sizes(positions)
    settings = _settings(device, dtype, channels, grid_of(sizes[0]), seconds)
    console = Console()
    if not json:
        console.print(machine())
    rows = []
    with saying_if_busy():
        for row in _measure(cases, sizes, settings):
            rows.append(row)
            if json:
                print(json_lines.dumps(as_json(row)), flush=True)
    if not json:
        _show(console, rows, settings)


def _measure(cases: list[Case], sizes: list[int], settings: list[Setting]) -> Iterator[Row]:
    checks = {setting.device: setting for setting in settings}
    total = len(cases) * (len(checks) + len(sizes) * len(settings))
    with progress(total, "checking that both sides agree") as advance:
        for setting in checks.values():
            check(cases, setting, lambda case: advance(f"{case.name} agrees"))
        for row in compare(cases, sizes, settings):
            advance(f"{row.case.name}, {row.positions:,} positions, {row.setting.device}")
            yield row


def _show(console: Console, rows: list[Row], settings: list[Setting]) -> None:
    for device, dtype in ((setting.device, setting.dtype) for setting in settings):
        own = [row for row in rows if (row.setting.device, row.setting.dtype) == (device, dtype)]
        for shown in (table(own), growth_table(own)):
            if shown is not None:
                console.print(shown)


@contextmanager
def saying_if_busy() -> Iterator[None]:
    """Warns at the end if others had much of the machine meanwhile."""
    others = Others()
    yield
    if words := others.shares().words:
        _log.warning("%s", words)


@contextmanager
def progress(total: int, first: str) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr, or a line now and then; call what it yields with the last thing done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        pace = Pace()
        yield lambda text: tell(text) if pace.is_due() else None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    # Left to itself, rich would send to stderr what is printed meanwhile.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(first, total=total)
        yield lambda text: bar.update(task, advance=1, description=text)


def _sizes(positions: str) -> list[int]:
    words = [word.strip() for word in positions.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"--positions must be positive whole numbers separated by commas, got {positions!r}")
    return sorted({int(word) for word in words})


def require_seconds(seconds: float) -> None:
    """Checks the time to measure for.

    Raises:
        UserError: Naming it.
    """
    if not 0 < seconds <= MOST_SECONDS:
        raise UserError(f"--seconds must be above 0 and at most {MOST_SECONDS:,}, got {seconds}")


def _settings(device: str, dtype: str, channels: int, grid: tuple[int, int, int], seconds: float) -> list[Setting]:
    require_at_least(1, MOST_WIDTH, channels=channels)
    require_seconds(seconds)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda needs a CUDA GPU, and torch finds none")
    devices = [name for name in DTYPES if device in (name, "all") and (name == "cpu" or torch.cuda.is_available())]
    return [
        Setting(grid, channels, name, chosen, seconds)
        for name in devices
        for chosen in (DTYPES[name] if dtype == "default" else (dtype,))
    ]
