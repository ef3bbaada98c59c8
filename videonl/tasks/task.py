"""What training and evaluation ask of a task."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.evaluation import VideoScore
from videonl.evaluation.metrics import metrics_of
from videonl.evaluation.views import Average, average_for
from videonl.tasks.loss import Loss


class Task(ABC):
    """How labels are learned and how predictions are judged.

    Args:
        positive_weights: Of a task of several labels: how many times a true class counts in the loss against a false
            one, one number for all classes or one for each.
        loss: The loss.
        class_weights: Of every class in the loss, (K,).
        adjustment: What the loss adds to every logit, (K,).

    Attributes:
        monitor: The metric that is highest for the best checkpoint.
        hit_name: What the mean of :meth:`hits` is called.
        averages: How the views of a video may be averaged; the first is the default.
    """

    monitor: ClassVar[str]
    hit_name: ClassVar[str]
    averages: ClassVar[Sequence[Average]]

    def __init__(
        self,
        positive_weights: float | Sequence[float] | None = None,
        loss: Loss = Loss(),
        class_weights: Tensor | None = None,
        adjustment: Tensor | None = None,
    ) -> None:
        self.options = loss
        self.class_weights, self.adjustment = class_weights, adjustment
        self.positive_weights = None if positive_weights is None else torch.as_tensor(positive_weights).float()
        if (weights := self.positive_weights) is not None and not bool(((weights > 0) & weights.isfinite()).all()):
            raise UserError(f"positive_weights must be finite and above 0, got {positive_weights}")

    @classmethod
    def average(cls, wanted: Average | None) -> Average:
        """How views are averaged; see :func:`videonl.evaluation.views.average_for`."""
        return average_for(cls.averages, wanted)

    def _of_logits(self, values: Tensor | None, logits: Tensor) -> Tensor | None:
        """One number for each class, where and as what the logits are."""
        return None if values is None else values.to(logits)

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The training loss of a batch.

        Args:
            logits: (B, K).
            target: As batches hold it.
            label_smoothing: Share of each target spread over all classes.

        Returns:
            A scalar.
        """

    @abstractmethod
    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """How right a batch is, from 0 to 1 for each clip: (B,)."""

    def threshold(self, scores: Sequence[VideoScore]) -> float | None:
        """The probability from which a class is best taken as predicted; None where one class is predicted."""
        return None

    def metrics(self, scores: Sequence[VideoScore], threshold: float | None = None) -> dict[str, float]:
        """The metrics of an evaluation by name; see :func:`videonl.evaluation.metrics.metrics_of`.

        Args:
            scores: One score per video with a known class.
            threshold: Of several labels, the one that the validation videos chose.
        """
        return metrics_of(scores, threshold)
