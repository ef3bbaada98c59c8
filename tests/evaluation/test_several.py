"""Metrics of several labels against scikit-learn's definitions, written out."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, VideoScore, compare, read_record, write_record
from videonl.evaluation.fewer_views import accuracy_by_views
from videonl.evaluation.intervals import bootstrap
from videonl.evaluation.page import comparison_page
from videonl.evaluation.report import print_comparison, print_evaluation, write_evaluation
from videonl.evaluation.several import (
    average_precisions,
    best_threshold,
    f1_of,
    hits_among,
    macro_f1_at,
    mean_average_precision_of,
    several_intervals,
    several_metrics,
)
from videonl.evaluation.views import average_views, stack
from videonl.terminal import Console

NUM_VIDEOS, NUM_CLASSES = 61, 7


def data(seed: int = 0, levels: int = 0) -> tuple[Tensor, Tensor]:
    """Probabilities, of a few levels where ties are wanted, and labels; the last class has no video."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(NUM_VIDEOS, NUM_CLASSES, generator=generator) < 0.3).long()
    targets[:, -1] = 0
    logits = torch.randn(NUM_VIDEOS, NUM_CLASSES, generator=generator, dtype=torch.float64) + targets
    probabilities = logits.sigmoid()
    return ((probabilities * levels).round() / levels if levels else probabilities), targets


def naive_precision(scores: list[float], truth: list[int]) -> float:
    """Sum over the thresholds, from the highest on, of the gain in recall times the precision."""
    found, total, last = sum(truth), 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [is_true for score, is_true in zip(scores, truth, strict=True) if score >= threshold]
        recall = sum(taken) / found
        total += (recall - last) * sum(taken) / len(taken)
        last = recall
    return total


@pytest.mark.parametrize("levels", [0, 5])
def test_average_precision_is_the_textbook_s_with_and_without_ties(levels: int) -> None:
    probabilities, targets = data(levels=levels)
    naive = [naive_precision(probabilities[:, k].tolist(), targets[:, k].tolist()) for k in range(NUM_CLASSES - 1)]
    found = average_precisions(probabilities, targets)
    assert found[:-1].tolist() == pytest.approx(naive, abs=1e-10) and np.isnan(found[-1])
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is absent")
    theirs = sklearn.average_precision_score(targets[:, :-1].numpy(), probabilities[:, :-1].numpy(), average=None)
    assert found[:-1].tolist() == pytest.approx(theirs.tolist(), abs=1e-10)


def test_charades_definition_is_the_mean_precision_at_its_videos() -> None:
    probabilities, targets = data(3)
    for k in range(NUM_CLASSES - 1):
        order = probabilities[:, k].argsort(descending=True)
        ranks = 1 + targets[order, k].nonzero()[:, 0]
        at_each = torch.arange(1, len(ranks) + 1, dtype=torch.float64) / ranks
        assert average_precisions(probabilities, targets)[k] == pytest.approx(float(at_each.mean()), abs=1e-10)


def test_resampled_map_is_that_of_the_videos_repeated() -> None:
    probabilities, targets = data(1, levels=9)
    statistic = mean_average_precision_of(probabilities, targets)
    drawn = torch.randint(NUM_VIDEOS, (NUM_VIDEOS,), generator=torch.Generator().manual_seed(2))
    counts = torch.bincount(drawn, minlength=NUM_VIDEOS).double().numpy()[None]
    repeated = average_precisions(probabilities[drawn], targets[drawn])
    assert statistic(counts)[0] == pytest.approx(np.nanmean(repeated), abs=1e-10)
    low, high = bootstrap(statistic, NUM_VIDEOS)
    assert low < statistic(np.ones((1, NUM_VIDEOS)))[0] < high


def test_f1_counts_pairs_and_the_best_threshold_is_the_best() -> None:
    probabilities, targets = data(4)
    once = np.ones((1, NUM_VIDEOS))

    def naive(threshold: float) -> float:
        pairs = list(itertools.product(range(NUM_VIDEOS), range(NUM_CLASSES)))
        said = {pair for pair in pairs if probabilities[pair] >= threshold}
        true = {pair for pair in pairs if targets[pair]}
        return 2 * len(said & true) / (len(said) + len(true))

    assert f1_of(probabilities, targets, 0.5)(once)[0] == pytest.approx(naive(0.5), abs=1e-10)
    best = best_threshold(probabilities, targets)
    assert naive(best) == pytest.approx(max(naive(float(each)) for each in probabilities.flatten()[::3]), abs=0.02)
    assert naive(best) >= max(naive(float(each)) for each in probabilities.flatten()[::3])


def test_hits_leave_out_videos_without_a_class() -> None:
    probabilities = torch.tensor([[0.9, 0.1, 0.2], [0.1, 0.3, 0.2], [0.5, 0.6, 0.1]])
    targets = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 0, 1]])
    assert hits_among(probabilities, targets).tolist() == [1, 0]
    assert hits_among(probabilities, targets, k=2).tolist() == [1, 1]
    assert several_metrics(probabilities, targets)["hit1"] == 0.5
    assert "hit5" not in several_metrics(probabilities, targets)
    assert several_intervals(*data())["hit5"].high <= 1


def test_views_are_averaged_or_the_largest_counts() -> None:
    logits = torch.tensor([[0.0, 2.0], [4.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(average_views(logits, "sigmoid"), logits.sigmoid().mean(0), rtol=0, atol=1e-15)
    torch.testing.assert_close(average_views(logits, "max"), logits.sigmoid().amax(0), rtol=0, atol=1e-15)


@pytest.fixture
def record() -> EvaluationRecord:
    return record_of(0, {"threshold": "0.61"})


def record_of(seed: int, about: dict[str, str] | None = None, noise: float = 0.0) -> EvaluationRecord:
    probabilities, targets = data()
    generator = torch.Generator().manual_seed(seed)
    scores = []
    for video, (row, target) in enumerate(zip(probabilities, targets, strict=True)):
        logits = torch.logit(row).float() + noise * torch.randn(2, NUM_CLASSES, generator=generator)
        label = tuple(target.nonzero()[:, 0].tolist()) if video else -1
        scores.append(VideoScore(video, f"{video}.mp4", label, logits, ((0, 0), (1, 0)), "sigmoid"))
    names = ["run", "wave", "<b>", 'say "hi"', "jump", "clap", "no video"]
    return EvaluationRecord(names, scores, about or {})


def test_a_record_keeps_every_label(record: EvaluationRecord, tmp_path: Path) -> None:
    write_record(tmp_path / "a.parquet", record)
    again = read_record(tmp_path / "a.parquet")
    assert [score.label for score in again.scores] == [score.label for score in record.scores]
    assert (again.average, again.threshold, again.has_several_labels) == ("sigmoid", 0.61, True)
    assert len(again.labeled) == NUM_VIDEOS - 1
    assert again.accuracies == several_metrics(*stack(record.labeled), 0.61)
    with pytest.raises(UserError, match="the other of several"):
        compare(record, EvaluationRecord(record.class_names, []))


def test_the_report_shows_classes_and_names_those_without_a_video(record: EvaluationRecord, tmp_path: Path) -> None:
    written = write_evaluation(tmp_path, "test", record)
    assert not written.confusion.exists()
    page = written.page.read_text()
    for text in (
        "mAP",
        "F1 at best",
        "average precision",
        "the 1 without one are left out",
        "0.61",
        "mAP by number of",
    ):
        assert text in page, text
    assert "&lt;b&gt;" in page and "<b>run" not in page and "Confusions" not in page
    assert accuracy_by_views(record.labeled)[-1].value == pytest.approx(record.accuracies["map"])


def test_tables_for_people(record: EvaluationRecord, capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(Console(), record.labeled, 0, record.threshold)
    text = capsys.readouterr().out
    for words in ("mAP", "hit at 5", "6 classes with a video; 1 classes without one are left out", "validation videos"):
        assert words in text, text


def test_a_comparison_pairs_the_resamples(record: EvaluationRecord, capsys: pytest.CaptureFixture[str]) -> None:
    worse = record_of(1, noise=2.0)
    order = [4, 2, 0, 6, 1, 3, 5]
    shuffled = EvaluationRecord(
        [worse.class_names[k] for k in order],
        [
            VideoScore(
                score.video,
                score.path,
                tuple(sorted(order.index(label) for label in score.labels)) if score.is_labeled else -1,
                score.logits[:, order],
                score.views,
                score.average,
            )
            for score in worse.scores
        ],
    )
    found = compare(record, shuffled)
    a, b = record.accuracies["map"], worse.accuracies["map"]
    assert (found.metrics["map"].a, found.metrics["map"].b) == (pytest.approx(a), pytest.approx(b))
    assert (
        found.metrics["map"].interval.high < 0 and found.verdict == "On videos like these, B is worse than A, by mAP."
    )
    assert {change.name for change in found.classes} == {*record.class_names} - {"no video"}
    by_name: dict[str, Any] = {change.name: change for change in found.classes}
    assert by_name["run"].a == pytest.approx(average_precisions(*stack(record.labeled))[0])
    print_comparison(Console(), found)
    assert "mAP" in capsys.readouterr().out and "mAP, B" in comparison_page(found, "a", "b")


def test_labels_differ_only_where_they_do(record: EvaluationRecord) -> None:
    assert compare(record, record).metrics["map"].difference == 0
    scores = [replace(score, label=(3,)) if score.video == 5 else score for score in record.scores]
    with pytest.raises(UserError, match=r"1 videos have another label in B than in A, such as 5\.mp4"):
        compare(record, EvaluationRecord(record.class_names, scores))


def test_macro_f1_is_the_mean_over_the_classes_that_a_video_has() -> None:
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand(53, 7, dtype=torch.float64, generator=generator)
    targets = (torch.rand(53, 7, generator=generator) < 0.3).long()
    targets[:, -1] = 0  # predicted by some videos, true of none
    found = (probabilities >= 0.5).long()
    naive = [
        2 * int((found[:, k] & targets[:, k]).sum()) / int(found[:, k].sum() + targets[:, k].sum()) for k in range(6)
    ]
    drawn = torch.randint(53, (53,), generator=generator)
    counts = np.bincount(drawn.numpy(), minlength=53)[None].astype(np.float64)
    assert several_metrics(probabilities, targets)["macro_f1"] == pytest.approx(sum(naive) / 6, abs=1e-10)
    again = several_metrics(probabilities[drawn], targets[drawn])["macro_f1"]
    assert macro_f1_at(probabilities, targets, 0.5)(counts)[0] == pytest.approx(again, abs=1e-10)
