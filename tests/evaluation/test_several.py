"""Metrics of several labels, against naive formulas and torchmetrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score

from videonl.evaluation import EvaluationRecord, VideoScore, compare, read_record, write_record
from videonl.evaluation.averaging import average_views
from videonl.evaluation.report import write_evaluation
from videonl.evaluation.several import average_precisions, several_metrics, statistics_of, without_positive

NAMES = ["hug", "kick", "push", "run", "wave", "sit", "lie"]


def _drawn(seed: int = 3, num_videos: int = 53) -> tuple[Tensor, Tensor]:
    """Probabilities with many ties, and targets whose last class has no positive."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(num_videos, 7, dtype=torch.float64, generator=generator).mul(11).round().div(11)
    targets = (torch.rand(num_videos, 7, generator=generator) < 0.3).long()
    targets[:, -1] = 0
    return probabilities, targets


def _naive(scores: Tensor, truth: Tensor) -> float:
    """The mean over positives of the precision among all videos that score at least as high."""
    precisions = [float(truth[scores >= scores[place]].double().mean()) for place in truth.nonzero()[:, 0]]
    return float(np.mean(precisions))


def test_average_precisions_are_naive_ones_and_those_of_torchmetrics() -> None:
    probabilities, targets = _drawn()
    found = average_precisions(probabilities, targets)
    naive = torch.tensor([_naive(probabilities[:, k], targets[:, k]) for k in range(6)], dtype=torch.float64)
    torch.testing.assert_close(found[:6], naive, rtol=0, atol=1e-10)
    assert found[6].isnan() and without_positive(targets, NAMES) == ["lie"]
    theirs = multilabel_average_precision(probabilities[:, :6], targets[:, :6], 6, average="none")
    torch.testing.assert_close(found[:6].float(), theirs.float(), rtol=0, atol=1e-6)
    metrics = several_metrics(probabilities, targets)
    assert metrics["map"] == pytest.approx(float(naive.mean()), abs=1e-10)
    theirs_f1 = multilabel_f1_score(probabilities - 1e-9, targets, 7, average="micro")
    assert metrics["f1"] == pytest.approx(float(theirs_f1), abs=1e-6)


def test_a_resample_is_an_evaluation_of_the_videos_drawn() -> None:
    probabilities, targets = _drawn()
    drawn = torch.randint(53, (53,), generator=torch.Generator().manual_seed(7))
    counts = np.bincount(drawn.numpy(), minlength=53)[None].astype(np.float64)
    again = several_metrics(probabilities[drawn], targets[drawn])
    for name, statistic in statistics_of(probabilities, targets).items():
        assert statistic(counts)[0] == pytest.approx(again[name], abs=1e-10), name


def test_views_of_several_labels_are_averaged_or_the_highest_taken() -> None:
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
    sigmoids = 1 / (1 + (-logits).exp())
    torch.testing.assert_close(average_views(logits, "sigmoid"), sigmoids.mean(dim=0), rtol=0, atol=1e-12)
    torch.testing.assert_close(average_views(logits, "max"), sigmoids.max(dim=0).values, rtol=0, atol=1e-12)


def _record(seed: int, shift: float = 0.0) -> EvaluationRecord:
    generator = torch.Generator().manual_seed(seed)
    targets = _drawn(5, 31)[1]
    logits = torch.randn(31, 2, 7, generator=generator) + shift * targets[:, None]
    labels = [tuple(row.nonzero()[:, 0].tolist()) for row in targets]
    views = ((0, 0), (1, 0))
    scores = [VideoScore(i, f"{i}.mp4", labels[i], logits[i], views, "max") for i in range(31)]
    return EvaluationRecord(NAMES, [*scores, VideoScore(31, "31.mp4", -1, logits[0], views, "max")])


def test_a_record_keeps_labels_none_and_unknown(tmp_path: Path) -> None:
    record = _record(1)
    assert any(score.label == () for score in record.scores)
    write_record(tmp_path / "a.parquet", record)
    again = read_record(tmp_path / "a.parquet")
    assert [score.label for score in again.scores] == [score.label for score in record.scores]
    assert again.average == "max" and again.task == "multi_label" and len(again.labeled) == 31
    assert again.accuracies == record.accuracies


def test_the_report_shows_average_precisions_and_names_what_is_left_out(tmp_path: Path) -> None:
    written = write_evaluation(tmp_path, "test", _record(1))
    page = written.page.read_text()
    assert "average precision" in page and "leaves out 1 class that no video has: lie." in page
    assert not written.confusion.exists()


def test_a_comparison_is_by_the_map() -> None:
    found = compare(_record(1), _record(2, shift=3.0))
    a, b = _record(1).accuracies["map"], _record(2, shift=3.0).accuracies["map"]
    assert found.metrics["map"][:3] == pytest.approx((a, b, b - a)) and found.p_value is None
    assert found.verdict == "On videos like these, B is better than A, by mAP."
    assert [change.name for change in found.classes if change.num_videos] and len(found.classes) == 6
