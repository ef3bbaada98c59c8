"""What the cells of a study have left behind: the record of the test, and the log of the training."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, read_record
from videonl.study.folder import CellFolder, State, StudyFolder
from videonl.study.plan import Cell, Study

_MONITORS = ("val/top1", "val/map")


@dataclass(frozen=True)
class TrainingLog:
    """The log of a training.

    Attributes:
        validation: The watched metric of the validation videos after an epoch, by the number of epochs.
        loss: The training loss in the same way.
        clips_per_second: Of the training, the median over its epochs; NaN where it is not logged.
        peak_memory_bytes: The most memory that a process of the training held; NaN where it is not logged.
    """

    validation: Mapping[int, float] = field(default_factory=dict)
    loss: Mapping[int, float] = field(default_factory=dict)
    clips_per_second: float = math.nan
    peak_memory_bytes: float = math.nan


@dataclass(frozen=True)
class CellResult:
    """A cell and what there is of it.

    Attributes:
        cell: The cell.
        state: What it is at.
        log: Of its training so far.
        record: Of its test, if it is finished.
        reason: Why it failed.
    """

    cell: Cell
    state: State
    log: TrainingLog
    record: EvaluationRecord | None = None
    reason: str = ""

    @property
    def step_seconds(self) -> float:
        """The time of a training step; NaN where it is not known."""
        trainer, data = (self.cell.fit.get(part, {}) for part in ("trainer", "data"))
        batch_size = data.get("loading", {}).get("batch_size", math.nan)
        numbers = [batch_size, trainer.get("devices", 1), trainer.get("num_nodes", 1)]
        if not all(isinstance(number, int) and number > 0 for number in numbers):
            return math.nan
        clips: float = math.prod(numbers)
        return clips / self.log.clips_per_second


@dataclass(frozen=True)
class Results:
    """A study and what there is of it."""

    study: Study
    cells: Sequence[CellResult]

    def in_state(self, *states: State) -> list[CellResult]:
        """The cells that are at one of these."""
        return [result for result in self.cells if result.state in states]

    def of(self, variant: str) -> list[CellResult]:
        """The cells of a variant."""
        return [result for result in self.cells if result.cell.variant == variant]

    def records(self, variant: str) -> dict[int, EvaluationRecord]:
        """The test of every seed of a variant that is finished, that of all folds as one."""
        found: dict[int, EvaluationRecord] = {}
        for seed in dict.fromkeys(result.cell.seed for result in self.of(variant)):
            folds = [result.record for result in self.of(variant) if result.cell.seed == seed]
            known = [record for record in folds if record is not None]
            if len(known) == len(folds):
                found[seed] = _joined(known)
        return found


def read_results(folder: StudyFolder) -> Results:
    """Reads what there is of a study.

    Raises:
        UserError: The folder holds none.
    """
    study = folder.read()
    return Results(study, [_result(cell, folder.of(cell)) for cell in study.cells])


def read_log(run: Path) -> TrainingLog:
    """Reads the log of a run's training; an empty one where there is none."""
    files = sorted(run.glob("logs/fit/*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    if not files:
        return TrainingLog()
    with files[-1].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    monitor = next((name for name in _MONITORS if rows and name in rows[0]), _MONITORS[0])
    speeds = _column(rows, "throughput/clips_per_second_epoch").values()
    peaks = _column(rows, "throughput/peak_memory_mib_epoch").values()
    return TrainingLog(
        _column(rows, monitor),
        _column(rows, "train/loss_epoch"),
        median(speeds) if speeds else math.nan,
        max(peaks) * 2**20 if peaks else math.nan,
    )


def _result(cell: Cell, folder: CellFolder) -> CellResult:
    state, reason = folder.state, ""
    record = None
    if state == "finished":
        try:
            record = read_record(folder.record)
        except UserError as error:
            state, reason = "failed", str(error)
    elif state == "failed":
        reason = folder.progress.reason
    return CellResult(cell, state, read_log(folder.path), record, reason)


def _column(rows: Sequence[Mapping[str, str | None]], name: str) -> dict[int, float]:
    """The values of a column by the number of epochs that were complete."""
    found = {}
    for row in rows:
        try:
            found[int(row.get("epoch") or "") + 1] = float(row.get(name) or "")
        except ValueError:  # it is not logged in this row, or the row is being written
            continue
    return found


def _joined(folds: Sequence[EvaluationRecord]) -> EvaluationRecord:
    """One record of the videos of all folds."""
    if len(folds) == 1:
        return folds[0]
    about = {name: text for name, text in folds[0].about.items() if name != "threshold"}
    unreadable = {path: reason for record in folds for path, reason in record.unreadable.items()}
    first = folds[0].class_names
    if any(record.class_names != first for record in folds):
        raise UserError("the folds of the study have different classes; list them all in data.classes")
    scores = [score for record in folds for score in record.scores]
    return replace(folds[0], scores=scores, about=about, unreadable=unreadable)
