"""Any number of classes for each clip."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from videonl.evaluation.several import best_threshold
from videonl.evaluation.views import SEVERAL_LABELS, Average, VideoScore, stack
from videonl.tasks.task import Task


class MultiLabel(Task):
    """Any number of classes for each clip: binary cross-entropy, sigmoid, average precision.

    Targets are (B, K): 1 for each true class and else 0, or shares of them where clips are mixed.

    Args:
        positive_weights: How many times a true class counts in the loss against a false one, which are many: one number
            for all classes, or one for each.
    """

    monitor: ClassVar[str] = "map"
    hit_name: ClassVar[str] = "hit1"
    averages: ClassVar[Sequence[Average]] = SEVERAL_LABELS

    def loss(self, logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy, the mean over clips and classes; smoothing moves each target towards a half."""
        smooth = target.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
        weights = self.positive_weights
        if weights is not None:
            weights = weights.to(logits)
        return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether the class of the highest logit is a true one; of mixed clips, the share of it."""
        best = logits.detach().argmax(dim=1, keepdim=True)
        return target.gather(1, best)[:, 0].float()

    def threshold(self, scores: Sequence[VideoScore]) -> float | None:
        """That of the highest F1; see :func:`videonl.evaluation.several.best_threshold`."""
        return best_threshold(*stack(scores))
