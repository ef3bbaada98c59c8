"""One class for each clip."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from videonl.evaluation.views import ONE_LABEL, Average
from videonl.tasks.loss import softmax_focal
from videonl.tasks.task import Task


class SingleLabel(Task):
    """One class for each clip: cross-entropy, softmax, accuracies.

    Targets are class indices (B,), or probabilities (B, K) where clips are mixed.
    """

    monitor: ClassVar[str] = "top1"
    hit_name: ClassVar[str] = "top1"
    averages: ClassVar[Sequence[Average]] = ONE_LABEL

    def loss(self, logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy or focal loss; see :class:`videonl.tasks.loss.Loss`."""
        weights, adjustment = (self._of_logits(each, logits) for each in (self.class_weights, self.adjustment))
        if adjustment is not None:
            logits = logits + adjustment
        if self.options.kind == "focal":
            return softmax_focal(logits, target, weights, self.options.focal_gamma, label_smoothing)
        return F.cross_entropy(logits, target, weights, label_smoothing=label_smoothing)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether the highest logit is that of the class; of mixed clips, of the stronger one."""
        stronger = target if target.ndim == 1 else target.argmax(dim=1)
        return (logits.detach().argmax(dim=1) == stronger).float()
