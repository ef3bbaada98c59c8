"""What a comparison shows: JSON lines, a table, and how time and memory grow with the number of positions."""

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from videonl.benchmarks.comparison import Row
from videonl.benchmarks.measure import Measurement
from videonl.benchmarks.rounds import as_plain

QUANTITIES = {"forward": "forward_ms", "step": "step_ms", "memory": "peak_mib"}
DOES_NOT_FIT = "does not fit"
UNSTABLE = "unstable"


def machine() -> str:
    """One line that says what is measured on: processor, cores, torch and its threads, the GPU if there is one.

    The load average tells whether something else was running: times are then worth little.
    """
    parts = [
        _processor(),
        f"{os.cpu_count()} cores",
        f"torch {torch.__version__}",
        f"{torch.get_num_threads()} threads",
    ]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    if hasattr(os, "getloadavg"):
        parts.append(f"load {os.getloadavg()[0]:.1f} before")
    return ", ".join(parts)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def as_json(row: Row) -> dict[str, Any]:
    """A row as plain data: milliseconds, MiB, rounds, and ratios plain/ours, None where there is none to trust."""
    return {
        "bench": "blocks",
        "case": row.case.name,
        "peer": row.case.peer,
        "positions": row.positions,
        "channels": row.setting.channels,
        "device": row.setting.device,
        "dtype": row.setting.dtype,
        "parameters": row.parameters,
        "flops": {"ours": row.flops_ours, "plain": row.flops_plain},
        "ours": None if row.ours is None else asdict(row.ours),
        "plain": None if row.plain is None else asdict(row.plain),
        **{f"ratio_{name}": row.ratio(quantity) for name, quantity in QUANTITIES.items()},
        **as_plain(row.rounds),
    }


def table(rows: Sequence[Row]) -> Table:
    """Rows of one device and dtype, all sizes of a case together; the ratios, plain/ours, come first."""
    setting = rows[0].setting
    shown = Table(title=f"{setting.device}, {setting.dtype}, {setting.channels} channels, batch 1: ours and plain")
    shown.add_column("block")
    shown.add_column("against")
    headings = ("positions", "step", "forward", "memory", "step ms", "forward ms", "peak MiB", "GFLOPs", "parameters")
    for heading in headings:
        shown.add_column(heading, justify="right")
    for case in dict.fromkeys(row.case for row in rows):
        for row in rows:
            if row.case == case:
                shown.add_row(*_cells(row))
        shown.add_section()
    return shown


def _cells(row: Row) -> list[str]:
    quantities = ("step_ms", "forward_ms", "peak_mib")
    ratios = [UNSTABLE if row.is_unstable(quantity) else _ratio(row.ratio(quantity)) for quantity in quantities]
    amounts = [_beside(row, quantity) for quantity in quantities]
    work = f"{row.flops_ours / 1e9:.2f} | {row.flops_plain / 1e9:.2f}"
    return [row.case.ours.block, row.case.peer, f"{row.positions:,}", *ratios, *amounts, work, f"{row.parameters:,}"]


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"[bold]{ratio:.3g}x[/bold]" if ratio < 1000 else f"[bold]{ratio:,.0f}x[/bold]"


def _beside(row: Row, quantity: str) -> str:
    return f"{_amount(row.ours, quantity)} | {_amount(row.plain, quantity)}"


def _amount(measurement: Measurement | None, quantity: str) -> str:
    if measurement is None:
        return DOES_NOT_FIT
    value = float(getattr(measurement, quantity))
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 10 else f"{value:.1f}"


def growth_table(rows: Sequence[Row]) -> Table | None:
    """How step time and peak memory grow with N, for rows of one device and dtype; None for fewer than two sizes."""
    if len({row.positions for row in rows}) < 2:
        return None
    shown = Table(title="growth: the exponent p of N^p that fits best; 1 is linear, 2 quadratic")
    for heading in ("block", "against"):
        shown.add_column(heading)
    for heading in ("step, ours", "step, plain", "memory, ours", "memory, plain"):
        shown.add_column(heading, justify="right")
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        exponents = [growth(own, side, quantity) for quantity in ("step_ms", "peak_mib") for side in ("ours", "plain")]
        shown.add_row(case.ours.block, case.peer, *("-" if p is None else f"{p:.2f}" for p in exponents))
    return shown


def growth(rows: Sequence[Row], side: str, quantity: str) -> float | None:
    """The slope of log(quantity) over log(positions), of the rows where it fits into memory; None for fewer than two.

    Args:
        rows: Those of one case, at several sizes.
        side: ``ours`` or ``plain``.
        quantity: ``forward_ms``, ``step_ms`` or ``peak_mib``.
    """
    measured = [(row.positions, getattr(row, side)) for row in rows]
    points = [(n, float(getattr(found, quantity))) for n, found in measured if found is not None]
    points = [(n, value) for n, value in points if value > 0]
    if len({n for n, _ in points}) < 2:
        return None
    sizes, values = zip(*points, strict=True)
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(v) for v in values]).slope
