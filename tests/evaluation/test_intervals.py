"""The vectorized bootstrap against one that draws and counts one resample at a time."""

import numpy as np
import pytest
import torch

from videonl.evaluation import accuracies, intervals
from videonl.evaluation.intervals import (
    NUM_RESAMPLES,
    accuracy_intervals,
    bootstrap,
    caution,
    hits_of,
    mean_class_share_of,
    share_of,
)

NUM_VIDEOS = 23
RANDOM = np.random.default_rng(5)
HITS = (RANDOM.random(NUM_VIDEOS) < 0.7).astype(np.float64)
LABELS = np.array([0, 0, 0, 4, 4, *RANDOM.choice([0, 2, 4], NUM_VIDEOS - 5)])  # classes 1 and 3 do not occur


def plain_mean_class(hits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([hits[labels == label].mean() for label in set(labels.tolist())]))


def test_intervals_are_percentiles_of_plain_resampling() -> None:
    draws = np.random.default_rng(0).integers(NUM_VIDEOS, size=(NUM_RESAMPLES, NUM_VIDEOS))
    top1 = [HITS[drawn].mean() for drawn in draws]
    mean_class = [plain_mean_class(HITS[drawn], LABELS[drawn]) for drawn in draws]
    for values, statistic in ((top1, share_of(HITS)), (mean_class, mean_class_share_of(HITS, LABELS))):
        expected = np.percentile(values, [2.5, 97.5])
        assert bootstrap(statistic, NUM_VIDEOS) == pytest.approx(expected, abs=1e-12)


def test_memory_at_once_does_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap(share_of(HITS), NUM_VIDEOS)
    monkeypatch.setattr(intervals, "_AT_ONCE", 7 * NUM_VIDEOS)
    assert bootstrap(share_of(HITS), NUM_VIDEOS) == pytest.approx(whole, abs=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth, trials = 0.7, 300
    draws = np.random.default_rng(1).random((trials, 211)) < truth
    held = [low <= truth <= high for low, high in (bootstrap(share_of(row * 1.0), 211, 400) for row in draws)]
    assert 0.91 < np.mean(held) < 0.98


def test_accuracy_intervals_have_the_names_of_the_accuracies() -> None:
    probabilities = torch.rand(NUM_VIDEOS, 7, generator=torch.Generator().manual_seed(3)).softmax(dim=1)
    found = accuracy_intervals(probabilities, torch.from_numpy(LABELS))
    assert set(found) == {"top1", "top5", "mean_class", "macro_f1"}
    assert found["top5"] == bootstrap(share_of(hits_of(probabilities, torch.from_numpy(LABELS), 5)), NUM_VIDEOS)
    assert set(accuracy_intervals(probabilities[:, :5], torch.from_numpy(LABELS))) == {"top1", "mean_class", "macro_f1"}


def test_hits_are_those_of_the_k_most_probable() -> None:
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.3, 0.5]])
    labels = torch.tensor([0, 2, 0])
    assert hits_of(probabilities, labels).tolist() == [1, 0, 0]
    assert hits_of(probabilities, labels, k=2).tolist() == [1, 1, 0]


def test_few_videos_are_pointed_out() -> None:
    assert caution(100, 100) is None
    assert caution(24, 20) == "Only 24 videos: each one is 4.2 points of top-1, and the intervals are rough."
    # The chance of 24 hits in a row falls to 5 % at an accuracy of 88.3 %.
    assert pytest.approx(0.05, abs=1e-3) == 0.883**24
    assert "All are right" in (caution(24, 24) or "")
    assert "at least 88.3 %" in (caution(24, 24) or "")
    assert "at most 11.7 %" in (caution(24, 0) or "")


def test_hits_of_equal_probabilities_are_those_of_the_figure() -> None:
    probabilities, labels = torch.full((NUM_VIDEOS, 7), 1 / 7), torch.from_numpy(LABELS)
    assert hits_of(probabilities, labels).tolist() == (LABELS == 0).tolist()
    low, high = accuracy_intervals(probabilities, labels)["top1"]
    assert low <= accuracies(probabilities, labels)["top1"] <= high
