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
    """

    monitor: ClassVar[str]

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

    @abstractmethod
    def metrics(self, scores: Sequence[VideoScore]) -> dict[str, float]:
        """The metrics of an evaluation by name.

        Args:
            scores: One score per video, of which at least one is labeled.
        """
