"""Any number of classes for each clip."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from videonl.evaluation.several import best_threshold
from videonl.evaluation.views import SEVERAL_LABELS, Average, VideoScore, stack
from videonl.tasks.loss import sigmoid_focal
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
        """Binary cross-entropy or focal loss, the mean over clips and classes; smoothing moves targets to a half."""
        smooth = target.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
        positive, weights = (self._of_logits(each, logits) for each in (self.positive_weights, self.class_weights))
        if self.options.kind == "focal":
            return sigmoid_focal(logits, smooth, weights, self.options.focal_gamma)
        return F.binary_cross_entropy_with_logits(logits, smooth, weights, pos_weight=positive)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether the class of the highest logit is a true one; of mixed clips, the share of it."""
        best = logits.detach().argmax(dim=1, keepdim=True)
        return target.gather(1, best)[:, 0].float()

    def threshold(self, scores: Sequence[VideoScore]) -> float | None:
        """That of the highest F1; see :func:`videonl.evaluation.several.best_threshold`."""
        return best_threshold(*stack(scores))
