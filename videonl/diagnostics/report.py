"""A diagnosis for people and programs: tables in the terminal, and files."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from videonl.diagnostics.blocks_off import Effect
from videonl.diagnostics.diagnosis import BlockDiagnosis
from videonl.diagnostics.figure import diagnosis_png
from videonl.diagnostics.findings import Finding, read_block, read_effect
from videonl.evaluation.intervals import caution
from videonl.evaluation.page import render
from videonl.files import whole_file, write_text
from videonl.terminal import Console

SHARES = ("entropy", "itself", "own_frame", "own_place", "elsewhere")
AWAY = ("frames_away", "seconds_away", "px_away")

WRITTEN = ("diagnosis.json", "diagnosis.csv", "diagnosis.png", "diagnosis.html")


@dataclass(frozen=True)
class DiagnosisReport:
    """The results of a diagnosis and its settings.

    Attributes:
        about: The settings, in words.
        num_clips: The number of clips measured.
        top1: Accuracy of the whole network on them.
        blocks: In the network's order.
        all_off: The effect of switching off every block.
        unreadable: Why a video could not be read, by its file.
    """

    about: Mapping[str, str]
    num_clips: int
    top1: float
    blocks: Sequence[BlockDiagnosis]
    all_off: Effect
    unreadable: Mapping[str, str]

    def readings(self) -> dict[str, list[Finding]]:
        """The findings about each block, by its name."""
        return {block.name: read_block(block, self.num_clips) for block in self.blocks}

    def without_blocks(self) -> Finding:
        """The finding about the network without any block."""
        return read_effect(self.all_off, self.num_clips, "any block")

    def plain(self) -> dict[str, Any]:
        """The whole report as plain data."""
        readings = self.readings()
        return {
            "about": dict(self.about),
            "num_clips": self.num_clips,
            "top1": self.top1,
            "blocks": [
                figures_of(block)
                | {
                    "cue": [
                        {"clips_with": row.kind, "num_clips": row.num_clips, **row.share._asdict()} for row in block.cue
                    ]
                }
                | {"reading": [finding._asdict() for finding in readings[block.name]]}
                for block in self.blocks
            ],
            "all_off": _effect(self.all_off) | {"reading": self.without_blocks()._asdict()},
            "unreadable": dict(self.unreadable),
        }


def figures_of(block: BlockDiagnosis) -> dict[str, Any]:
    """The measures of a block as one flat row; None for those that it does not have."""
    row: dict[str, Any] = {"block": block.name, "kind": block.kind, "grid": "x".join(map(str, block.grid))}
    attention = block.attention
    for name in (*SHARES, *AWAY):
        row[name] = None if attention is None else getattr(attention.looking, name)
        row[f"{name}_even"] = None if attention is None else getattr(attention.even, name)
    for name in ("num_keys", "unevenness", "query_distance", "negative", "silent"):
        row[name] = None if attention is None else getattr(attention, name)
    row["affinity"] = block.affinity
    gain = {"gain": block.gain and block.gain.value, "gain_of": block.gain and block.gain.of}
    alike = block.alike
    of_alike = {
        "top1_alike": None if alike is None else alike.top1,
        "answers_changed_alike": None if alike is None else alike.num_changed,
    }
    return row | gain | {"contribution": block.contribution} | _effect(block.effect) | of_alike


def write_report(directory: Path, report: DiagnosisReport) -> list[Path]:
    """Writes diagnosis.json, .csv, .png and .html, and returns their paths."""
    data, table, picture, page = (directory / name for name in WRITTEN)
    png = diagnosis_png(report.blocks)
    write_text(data, json.dumps(report.plain(), indent=2) + "\n")
    write_text(table, _as_csv([figures_of(block) for block in report.blocks]))
    with whole_file(picture) as file:
        file.write(png)
    write_text(page, diagnosis_page(report, png))
    return [data, table, picture, page]


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def diagnosis_page(report: DiagnosisReport, png: bytes) -> str:
    """The report as one self-contained HTML file."""
    return render(
        "diagnosis.html",
        package="videonl.diagnostics",
        report=report,
        readings=report.readings(),
        figure=png,
        caution=caution(report.num_clips),
    )


def print_report(console: Console, report: DiagnosisReport) -> None:
    """Prints where blocks attend, what accuracy loses without them, and the findings."""
    looking = [block for block in report.blocks if block.attention is not None]
    if looking:
        console.print(_looking_table(looking))
    console.print(_worth_table(report))
    if any(block.cue for block in report.blocks):
        console.print(_cue_table(report.blocks))
    for name, findings in report.readings().items():
        for finding in findings:
            console.print(f"{name} {finding.text}", soft_wrap=True, markup=False, highlight=False)
    if len(report.blocks) > 1:
        text = report.without_blocks().text
        console.print(f"the set of all blocks {text}", soft_wrap=True, markup=False, highlight=False)
    if warning := caution(report.num_clips):
        console.print(warning, style="yellow")


def _looking_table(blocks: Sequence[BlockDiagnosis]) -> Table:
    shares = "entropy", "itself", "own\nframe", "own\nplace", "else-\nwhere"
    away = "frames\naway", "s\naway", "px\naway"
    table = _table(
        "where blocks attend; below each: uniform attention", "block", *shares, *away, "un-\neven", "queries\ndiffer"
    )
    for block in blocks:
        assert block.attention is not None
        for first, looking in ((block.name, block.attention.looking), ("", block.attention.even)):
            cells = [f"{value:.2f}" for value in looking[:-1]] + [f"{looking.px_away:.1f}"]
            last = [f"{block.attention.unevenness:.2f}", f"{block.attention.query_distance:.3f}"] if first else []
            table.add_row(first, *cells, *last, style=None if first else "dim")
    return table


def _worth_table(report: DiagnosisReport) -> Table:
    title = f"accuracy without blocks: {report.num_clips} clips, top-1 {100 * report.top1:.1f} %"
    effects = "top-1\nwithout", "points\nlost", "95 %\ninterval", "answers\nchanged"
    table = _table(title, "block", "kind", "gain", "|change|\n/ |x|", *effects, "top-1\nalike")
    for block in report.blocks:
        gain = f"{block.gain.value:.3g}\n({block.gain.of})" if block.gain else "none"
        alike = "-" if block.alike is None else f"{100 * block.alike.top1:.1f} %"
        table.add_row(
            block.name,
            block.kind.replace("_", " "),
            gain,
            f"{block.contribution:.3f}",
            *_effect_cells(block.effect),
            alike,
        )
    if len(report.blocks) > 1:
        table.add_row("all", "", "", "", *_effect_cells(report.all_off))
    return table


def _cue_table(blocks: Sequence[BlockDiagnosis]) -> Table:
    columns = "clips", "on the\ncue", "its keys", "times\nuniform", "on the\nprobe"
    table = _table("weight on the cue, for queries at the probe", "block", "clips with", *columns)
    for block in blocks:
        for row in block.cue:
            share = row.share
            cells = f"{share.on_cue:.2f}", f"{share.area:.3f}", f"{share.ratio:.1f}", f"{share.on_probe:.2f}"
            table.add_row(block.name, row.kind, str(row.num_clips), *cells)
    return table


def _table(title: str, *columns: str) -> Table:
    """Narrow enough for a terminal of 80 columns; the column of kinds shrinks first."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in columns:
        is_text = column in ("block", "kind", "clips with")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=column != "kind")
    return table


def _effect_cells(effect: Effect) -> list[str]:
    low, high = (f"{100 * edge:.1f}" for edge in effect.interval)
    lost = f"{100 * effect.lost:.1f}"
    return [f"{100 * effect.top1:.1f} %", lost, f"{low} to {high}", str(effect.num_changed)]


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "top1_without": effect.top1,
        "top1_lost": effect.lost,
        "top1_lost_low": effect.interval.low,
        "top1_lost_high": effect.interval.high,
        "p_value": effect.p_value,
        "answers_changed": effect.num_changed,
    }
