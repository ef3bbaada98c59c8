"""Any number of classes for each clip."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from videonl.errors import UserError
from videonl.evaluation import VideoScore, stack
from videonl.evaluation.several import best_threshold, several_metrics
from videonl.tasks.task import Task


class MultiLabel(Task):
    """Any number of classes for each clip: binary cross-entropy, sigmoid, average precision.

    Targets are (B, K): 1 for each class of a clip, else 0, and between where clips are mixed.

    Args:
        positive_weights: How much more the positives of each class weigh in the loss than its negatives: a number for
            every class, or one for all; none weigh alike.

    Raises:
        UserError: A weight is not positive.
    """

    monitor: ClassVar[str] = "map"
    train_metric: ClassVar[str] = "hit1"

    def __init__(self, positive_weights: Sequence[float] | float | None = None) -> None:
        weights = [positive_weights] if isinstance(positive_weights, int | float) else list(positive_weights or ())
        if not all(0 < weight < float("inf") for weight in weights):
            raise UserError(f"positive_weights must be positive numbers, got {positive_weights}")
        self.positive_weights = weights
        self.threshold: float | None = None

    def loss(self, logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy, mean over clips and classes; with smoothing s, a target y counts as y (1 - s) + s / 2.

        Raises:
            UserError: There are several weights of positives, but not one for each class.
        """
        if len(self.positive_weights) not in (0, 1, logits.shape[1]):
            raise UserError(f"there are {len(self.positive_weights)} positive_weights for {logits.shape[1]} classes")
        weights = torch.tensor(self.positive_weights).to(logits) if self.positive_weights else None
        smooth = target.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether the class of the highest logit is one of the clip's; of mixed clips, its share."""
        return target.gather(1, logits.detach().argmax(dim=1, keepdim=True))[:, 0].float()

    def choose(self, scores: Sequence[VideoScore]) -> dict[str, float]:
        """Chooses the threshold with the best micro F1 of these videos."""
        self.threshold = best_threshold(*stack(scores))
        return {"best_threshold": self.threshold}

    def metrics(self, scores: Sequence[VideoScore]) -> dict[str, float]:
        """See :func:`videonl.evaluation.several.several_metrics`."""
        return several_metrics(*stack(scores), self.threshold)
