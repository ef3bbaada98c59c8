"""Metrics of the scores of videos: accuracies, confusions and calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from videonl.evaluation.intervals import (
    Interval,
    Statistic,
    accuracy_intervals,
    accuracy_statistics,
    hits_of,
    macro_f1_of,
    mean_class_share_of,
    predicted,
)
from videonl.evaluation.several import several_intervals, several_metrics, several_statistics
from videonl.evaluation.views import SEVERAL_LABELS, VideoScore, stack

CALIBRATION_BINS = 15
TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_class": "mean class",
    "map": "mAP",
    "f1": "F1 at 0.5",
    "macro_f1": "macro F1",
    "f1_best": "F1 at best",
    "hit1": "hit at 1",
    "hit5": "hit at 5",
}
"""What the metrics of both tasks are called in tables; ``f1_best`` is that at the validation videos' best threshold."""


def metrics_of(scores: Sequence[VideoScore], threshold: float | None = None) -> dict[str, float]:
    """The metrics of videos with known classes: :func:`accuracies`, or of several labels :func:`several_metrics`.

    Args:
        scores: One per video.
        threshold: Of several labels, the probability that the validation videos chose; by default that of these.
    """
    if scores[0].average in SEVERAL_LABELS:
        return several_metrics(*stack(scores), threshold)
    return accuracies(*stack(scores))


def intervals_of(scores: Sequence[VideoScore], threshold: float | None = None) -> dict[str, Interval]:
    """95% bootstrap intervals of what :func:`metrics_of` returns, by the same names."""
    if scores[0].average in SEVERAL_LABELS:
        return several_intervals(*stack(scores), threshold)
    return accuracy_intervals(*stack(scores))


def statistics_of(scores: Sequence[VideoScore], threshold: float | None = None) -> Mapping[str, Statistic]:
    """What :func:`metrics_of` returns, by the same names, as functions of how often each video was drawn."""
    if scores[0].average in SEVERAL_LABELS:
        return several_statistics(*stack(scores), threshold)
    return accuracy_statistics(*stack(scores))


def accuracies(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1, top-5 and mean class accuracy, and macro-averaged F1.

    Args:
        probabilities: One row per video, (N, K).
        labels: True classes, (N,).

    Returns:
        ``top1``, ``mean_class`` (the mean of the per-class accuracies over the classes that occur among the labels:
        scikit-learn's balanced accuracy), ``macro_f1`` (the mean of the per-class F1 over the classes that occur among
        labels or predictions) and, with more than five classes, ``top5``; all from 0 to 1.
    """
    top1 = hits_of(probabilities, labels)
    once = np.ones((1, len(top1)))
    mean_class = float(mean_class_share_of(top1, labels.numpy())(once)[0])
    top5 = {"top5": float(hits_of(probabilities, labels, k=5).mean())} if probabilities.shape[1] > 5 else {}
    macro_f1 = float(macro_f1_of(predicted(probabilities), labels.numpy())(once)[0])
    return {"top1": float(top1.mean()), **top5, "mean_class": mean_class, "macro_f1": macro_f1}


def confusion_matrix(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Number of videos of each true class (row) predicted as each class (column), (K, K) int64."""
    num_classes = probabilities.shape[1]
    cells = labels * num_classes + probabilities.argmax(dim=1)
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


@dataclass(frozen=True)
class Calibration:
    """How well confidence, the probability of the predicted class, agrees with accuracy.

    Attributes:
        error: Expected calibration error (Guo et al. 2017, arXiv:1706.04599): the difference between confidence and
            accuracy, averaged over the videos of equally wide bins of confidence. Bins are right-closed.
        counts: Videos in each bin, (bins,).
        confidences: Mean confidence in each bin, (bins,); 0 in an empty one.
        accuracies: Accuracy in each bin, (bins,); 0 in an empty one.
    """

    error: float
    counts: Tensor
    confidences: Tensor
    accuracies: Tensor


def calibration(probabilities: Tensor, labels: Tensor, num_bins: int = CALIBRATION_BINS) -> Calibration:
    """Expected calibration error, and its bins.

    Args:
        probabilities: One row per video, (N, K).
        labels: True classes, (N,).
        num_bins: Bins of confidence, equally wide from 0 to 1.
    """
    confidence = probabilities.max(dim=1).values.double()
    edges = torch.linspace(0, 1, num_bins + 1, dtype=torch.float64)
    bins = torch.bucketize(confidence, edges[1:-1])
    counts = torch.bincount(bins, minlength=num_bins)
    hits = torch.from_numpy(hits_of(probabilities, labels))
    sums = [torch.bincount(bins, weights=values, minlength=num_bins) for values in (confidence, hits)]
    confidences, accurate = (total / counts.clamp(min=1) for total in sums)
    error = float(((confidences - accurate).abs() * counts).sum() / len(labels))
    return Calibration(error, counts, confidences, accurate)
