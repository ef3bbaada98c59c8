"""Accuracies of per-video scores, through torchmetrics."""

from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy


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
