"""Studies whose cells are files that no training made, so that every number in them is known."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.evaluation import EvaluationRecord, VideoScore, write_record
from videonl.study import Cell, Cost, Study, StudyFolder

FIT = {"trainer": {"devices": 1}, "data": {"loading": {"batch_size": 6}}}
CLASSES = ["run", "sit", "wave"]


@pytest.fixture
def make_study() -> Callable[..., Study]:
    """``make_study(variants, seeds, folds=, baseline=)``."""

    def make(
        variants: Sequence[str] = ("none", "axial"),
        seeds: Sequence[int] = (0, 1, 2),
        folds: Sequence[str | None] = (None,),
        baseline: str | None = "none",
        **others: Any,
    ) -> Study:
        cells = tuple(Cell(v, seed, FIT, {}, fold) for seed in seeds for fold in folds for v in variants)
        return Study("blocks", cells, baseline, costs={"none": Cost(1000, 10**9, 7, 11)}, **others)

    return make


@pytest.fixture
def finish() -> Callable[..., None]:
    """``finish(folder, cell, hits)`` leaves what a finished cell does: each video right where ``hits`` has a 1."""

    def write(
        folder: StudyFolder,
        cell: Cell,
        hits: Sequence[int],
        labels: Sequence[int] | None = None,
        accuracies: Mapping[int, float] | None = None,
    ) -> None:
        path = folder.of(cell).path
        labels = labels or [video % 3 for video in range(len(hits))]
        scores = [
            _score(video, label, hit, cell.fold) for video, (label, hit) in enumerate(zip(labels, hits, strict=True))
        ]
        write_record(path / "test.parquet", EvaluationRecord(CLASSES, scores, {"views": "1 clip"}))
        folder.of(cell).note_trained()
        log = path / "logs" / "fit" / "version_0" / "metrics.csv"
        log.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            "epoch,step,val/top1,train/loss_epoch,throughput/clips_per_second_epoch,throughput/peak_memory_mib_epoch"
        ]
        for epoch, value in (accuracies or {1: 0.25, 2: 0.5}).items():
            lines += [f"{epoch - 1},5,{value},,,", f"{epoch - 1},5,,{1 / epoch},{10 * epoch},{100 * epoch}"]
        log.write_text("\n".join(lines) + "\n")

    return write


def _score(video: int, label: int, hit: int, fold: str | None) -> VideoScore:
    logits = torch.zeros(1, 3)
    logits[0, label if hit else (label + 1) % 3] = 2.0
    return VideoScore(video, f"{fold or ''}{video}.mp4", label, logits, ((0, 0),))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")
