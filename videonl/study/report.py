"""The report of a study: one HTML page, and its table as CSV and Parquet."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.table import Table

from videonl.evaluation.intervals import caution
from videonl.evaluation.metrics import TITLES
from videonl.evaluation.page import render
from videonl.files import whole_path, write_text
from videonl.study.figures import Curve, Point, cost_svg, curves_svg
from videonl.study.outcomes import Findings, Gain, Outcome, findings_of
from videonl.study.results import CellResult, Results
from videonl.terminal import Console

_NUMBERS = ("step_seconds", "clips_per_second", "peak_memory_bytes")


class ClassGains(NamedTuple):
    """A class in the table: its value with the baseline, and every other variant's minus that; NaN where unknown."""

    name: str
    baseline: float
    gains: list[float]


def write_report(folder: Path, results: Results) -> list[Path]:
    """Writes report.html, and report.csv and report.parquet with a row for each variant, cells.csv for each cell.

    Args:
        folder: Where to.
        results: What there is of the study.

    Returns:
        The files.
    """
    findings = findings_of(results)
    page = folder / "report.html"
    write_text(page, study_page(results, findings))
    variants, cells = variant_table(findings), cell_table(results, findings)
    with whole_path(folder / "report.csv") as file:
        pa.csv.write_csv(variants, file)
    with whole_path(folder / "report.parquet") as file:
        pa.parquet.write_table(variants, file)
    with whole_path(folder / "cells.csv") as file:
        pa.csv.write_csv(cells, file)
    return [page, *(folder / name for name in ("report.csv", "report.parquet", "cells.csv"))]


def study_page(results: Results, findings: Findings) -> str:
    """The page."""
    outcomes = [outcome for outcome in findings.outcomes if outcome.seeds]
    points = [_point(outcome, findings.metric) for outcome in outcomes]
    curves = [
        Curve(name, *([getattr(result.log, kind) for result in results.of(name)] for kind in ("validation", "loss")))
        for name in results.study.variants
    ]
    return render(
        "study.html",
        "videonl.study",
        study=results.study,
        results=results,
        findings=findings,
        titles=TITLES,
        metrics=list(outcomes[0].metrics) if outcomes else [],
        caution=caution(findings.num_videos, metric=findings.title) if findings.num_videos else None,
        cost=cost_svg(points, findings.title),
        curves=curves_svg(curves, "mAP" if findings.metric == "map" else "top-1"),
        others=[outcome.name for outcome, _ in findings.compared],
        classes=class_gains(findings),
        isnan=math.isnan,
    )


def class_gains(findings: Findings) -> list[ClassGains]:
    """The classes, those first whose value changes most."""
    base = next((outcome for outcome in findings.outcomes if outcome.name == findings.baseline), None)
    others = [outcome for outcome, _ in findings.compared]
    if base is None or not others:
        return []
    rows = [
        ClassGains(name, value, [other.classes.get(name, math.nan) - value for other in others])
        for name, value in base.classes.items()
    ]
    return sorted(rows, key=lambda row: (-max(map(abs, row.gains)), row.name))


def variant_table(findings: Findings) -> pa.Table:
    """One row for each variant; metrics from 0 to 1, null where something is not known."""
    return pa.Table.from_pylist([_variant_row(findings, outcome) for outcome in findings.outcomes])


def _variant_row(findings: Findings, outcome: Outcome) -> dict[str, Any]:
    names = list(dict.fromkeys([findings.metric, *(name for other in findings.outcomes for name in other.metrics)]))
    gain = outcome.gain
    return {
        "variant": outcome.name,
        "baseline": findings.baseline,
        "num_seeds": len(outcome.seeds),
        "num_videos": findings.num_videos,
        "metric": findings.metric,
        **{f"{name}_{of}": _known(getattr(outcome, how)(name)) for name in names for of, how in _SUMMARIES},
        "difference": gain.difference if gain else None,
        "low": gain.interval.low if gain else None,
        "high": gain.interval.high if gain else None,
        "difference_num_seeds": gain.num_seeds if gain else None,
        "p_value": gain.p_value if gain else None,
        "verdict": gain.verdict if gain else None,
        "parameters": outcome.parameters,
        "macs": outcome.macs,
        **{name: _known(getattr(outcome, name)) for name in _NUMBERS},
    }


_SUMMARIES = (("mean", "mean"), ("sd", "deviation"))


def cell_table(results: Results, findings: Findings) -> pa.Table:
    """One row for each cell; the metrics of a seed of several folds stand beside each of its folds."""
    return pa.Table.from_pylist([_cell_row(result, findings) for result in results.cells])


def _cell_row(result: CellResult, findings: Findings) -> dict[str, Any]:
    cell, log = result.cell, result.log
    outcome = next(each for each in findings.outcomes if each.name == cell.variant)
    place = list(outcome.seeds).index(cell.seed) if cell.seed in outcome.seeds else None
    names = dict.fromkeys(name for each in findings.outcomes for name in each.metrics)
    return {
        "cell": cell.name,
        "variant": cell.variant,
        "fold": cell.fold,
        "seed": cell.seed,
        "state": result.state,
        "epochs": max(log.validation or log.loss, default=0),
        **{name: None if place is None else outcome.metrics[name][place] for name in names},
        "step_seconds": _known(result.step_seconds),
        "clips_per_second": _known(log.clips_per_second),
        "peak_memory_bytes": _known(log.peak_memory_bytes),
    }


def print_report(console: Console, results: Results) -> None:
    """Prints the table and the conclusion."""
    findings = findings_of(results)
    num_finished = len(results.in_state("finished"))
    table = Table(title=f"{results.study.name}: {num_finished} of {len(results.cells)} cells finished")
    table.add_column("variant")
    for column in ("seeds", f"{findings.title}, %", "SD", "change", "95 % interval"):
        table.add_column(column, justify="right")
    table.add_column("verdict", no_wrap=True)
    for outcome in findings.outcomes:
        mean, deviation = (
            _percent(value) for value in (outcome.mean(findings.metric), outcome.deviation(findings.metric))
        )
        table.add_row(outcome.name, str(len(outcome.seeds)), mean, deviation, *_gain_cells(outcome.gain))
    console.print(table)
    for line in findings.conclusion:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in [*findings.cautions, *(f"{name}: {reason}" for name, reason in findings.excluded.items())]:
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _gain_cells(gain: Gain | None) -> list[str]:
    if gain is None:
        return ["", "", ""]
    low, high = (f"{100 * edge:+.1f}" for edge in gain.interval)
    p_value = "" if gain.p_value is None else f" (p = {gain.p_value:.3g})"
    return [f"{100 * gain.difference:+.1f}", f"{low} to {high}", gain.verdict + p_value]


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def _point(outcome: Outcome, metric: str) -> Point:
    gmacs = math.nan if outcome.macs is None else outcome.macs / 1e9
    return Point(outcome.name, outcome.mean(metric), outcome.deviation(metric), gmacs, outcome.step_seconds)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
