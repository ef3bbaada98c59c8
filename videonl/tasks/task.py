"""What training and evaluation ask of a task."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from videonl.evaluation import VideoScore


class Task(ABC):
    """How labels are learned and how predictions are judged.

    Attributes:
        monitor: The metric that is highest for the best checkpoint.
        train_metric: What the mean of ``hits`` is called in the log.
        threshold: From which probability on a class is predicted, where the validation chose one.
    """

    monitor: ClassVar[str]
    train_metric: ClassVar[str] = "top1"
    threshold: float | None = None

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

    def choose(self, scores: Sequence[VideoScore]) -> dict[str, float]:
        """Chooses on the validation videos what a test uses, and says it by name; nothing unless a task overrides it.

        Args:
            scores: One score per video, of which each is labeled.
        """
        return {}

    @abstractmethod
    def metrics(self, scores: Sequence[VideoScore]) -> dict[str, float]:
        """The metrics of an evaluation by name.

        Args:
            scores: One score per video, of which at least one is labeled.
        """
