"""What the scores of videos say: accuracies, confusions and calibration, through torchmetrics."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

CALIBRATION_BINS = 15


def accuracies(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1, top-5 and mean class accuracy.

    Args:
        probabilities: One row per video, (N, K).
        labels: True classes, (N,).

    Returns:
        ``top1``, ``mean_class`` (the mean of the per-class accuracies over the classes that occur among the labels)
        and, with more than five classes, ``top5``; all from 0 to 1.
    """
    num_classes = probabilities.shape[1]

    def top(k: int) -> float:
        return float(multiclass_accuracy(probabilities, labels, num_classes, top_k=k, average="micro"))

    # torchmetrics' own macro average counts a class that nobody has but somebody predicted as an accuracy of zero.
    per_class = multiclass_accuracy(probabilities, labels, num_classes, average="none")
    mean_class = float(per_class[labels.unique()].mean())
    top5 = {"top5": top(5)} if num_classes > 5 else {}
    return {"top1": top(1), **top5, "mean_class": mean_class}


def confusion_matrix(probabilities: Tensor, labels: Tensor) -> Tensor:
    """How many videos of each true class (row) were taken for each class (column), (K, K) int64."""
    counts: Tensor = multiclass_confusion_matrix(probabilities, labels, probabilities.shape[1])
    return counts


@dataclass(frozen=True)
class Calibration:
    """How well confidence, the probability of the predicted class, agrees with accuracy.

    Attributes:
        error: Expected calibration error (Guo et al. 2017, arXiv:1706.04599): the difference between confidence and
            accuracy, averaged over the videos of equally wide bins of confidence.
        counts: Videos in each bin, (bins,).
        confidences: Mean confidence in each bin, (bins,); 0 in an empty one.
        accuracies: Accuracy in each bin, (bins,); 0 in an empty one.
    """

    error: float
    counts: Tensor
    confidences: Tensor
    accuracies: Tensor


def calibration(probabilities: Tensor, labels: Tensor, num_bins: int = CALIBRATION_BINS) -> Calibration:
    """Expected calibration error, and what it is made of.

    Args:
        probabilities: One row per video, (N, K).
        labels: True classes, (N,).
        num_bins: Bins of confidence, equally wide from 0 to 1.
    """
    # torchmetrics takes scores above 1 for logits, and an average of ones may be above it by rounding.
    probabilities = probabilities.clamp(max=1)
    error = multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=num_bins)
    confidence, predictions = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, num_bins + 1, dtype=confidence.dtype)
    bins = (torch.bucketize(confidence, edges, right=True) - 1).clamp(max=num_bins - 1)
    counts = torch.bincount(bins, minlength=num_bins)
    hits = (predictions == labels).double()
    sums = [torch.bincount(bins, weights=values, minlength=num_bins) for values in (confidence.double(), hits)]
    confidences, accurate = (total / counts.clamp(min=1) for total in sums)
    return Calibration(float(error), counts, confidences, accurate)
