"""Losses for uneven classes: weights of classes, focal loss, logit adjustment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from videonl.errors import UserError, require_within

KINDS = ("cross_entropy", "focal")
WEIGHTS = ("none", "inverse", "effective")


@dataclass(frozen=True)
class Loss:
    """The loss of a training; evaluations do not depend on it.

    Args:
        kind: ``cross_entropy``, which is binary cross-entropy for several labels, or ``focal`` (Lin et al. 2017,
            arXiv:1708.02002), which counts clips less that are predicted well already.
        focal_gamma: How much less: a clip whose class has probability p counts ``(1 - p) ** gamma``.
        class_weights: ``none``; ``inverse``, one over the number of a class's training videos; ``effective``, one over
            their effective number (Cui et al. 2019, arXiv:1901.05555); or a weight for each class by its name, where
            others have 1. The first two are scaled so that their mean over the classes is 1.
        effective_beta: Of the effective number, ``(1 - beta ** n) / (1 - beta)``.
        logit_adjustment: Adds this times the logarithm of a class's share of the training videos to its logit (Menon et
            al. 2020, arXiv:2007.07314); 1 is the paper's, 0 is off. Not for several labels.
    """

    kind: str = "cross_entropy"
    focal_gamma: float = 2.0
    class_weights: str | dict[str, float] = "none"
    effective_beta: float = 0.999
    logit_adjustment: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"loss.kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if isinstance(self.class_weights, str) and self.class_weights not in WEIGHTS:
            known = f"one of {', '.join(WEIGHTS)}, or weights by class"
            raise UserError(f"loss.class_weights must be {known}, got {self.class_weights!r}")
        require_within(0, 100, focal_gamma=self.focal_gamma, logit_adjustment=self.logit_adjustment)
        if not 0 <= self.effective_beta < 1:
            raise UserError(f"loss.effective_beta must be in [0, 1), got {self.effective_beta}")

    @property
    def needs_counts(self) -> bool:
        """Whether it depends on how many training videos each class has."""
        return self.logit_adjustment > 0 or self.class_weights in ("inverse", "effective")

    def weights(self, counts: Sequence[int] | None, class_names: Sequence[str]) -> Tensor | None:
        """The weight of every class, (K,) float64; None where all count alike.

        Args:
            counts: The number of training videos of every class; None where it is not known.
            class_names: Names in the order of the logits.

        Raises:
            UserError: A class is named that is not there, or a weight is not above 0.
        """
        if isinstance(self.class_weights, Mapping):
            return _given(self.class_weights, class_names)
        if self.class_weights == "none" or counts is None:
            return None
        numbers = torch.tensor(counts, dtype=torch.float64).clamp_min(1)
        if self.class_weights == "effective":
            numbers = (1 - self.effective_beta**numbers) / (1 - self.effective_beta)
        return 1 / numbers / (1 / numbers).mean()

    def adjustment(self, counts: Sequence[int] | None) -> Tensor | None:
        """What is added to every logit, (K,) float64; None for nothing."""
        if not self.logit_adjustment or counts is None:
            return None
        numbers = torch.tensor(counts, dtype=torch.float64).clamp_min(1)
        return self.logit_adjustment * (numbers / numbers.sum()).log()


def _given(weights: Mapping[str, Any], class_names: Sequence[str]) -> Tensor:
    given = {str(name): weight for name, weight in weights.items()}
    if unknown := sorted(set(given) - set(class_names)):
        raise UserError(f"loss.class_weights: {unknown[0]!r} is not one of the classes ({', '.join(class_names)})")
    values = torch.tensor([float(given.get(name, 1)) for name in class_names], dtype=torch.float64)
    if not bool((values > 0).all()):
        raise UserError(f"loss.class_weights must be above 0, got {dict(weights)}")
    return values


def softmax_focal(logits: Tensor, target: Tensor, weights: Tensor | None, gamma: float, smoothing: float) -> Tensor:
    """Focal loss of one class for each clip: ``-(1 - p) ** gamma * log p``, weighted as by ``cross_entropy``.

    Args:
        logits: (B, K).
        target: Class indices (B,), or probabilities (B, K).
        weights: Of the classes, (K,).
        gamma: See :class:`Loss`.
        smoothing: Share of each target spread over all classes.
    """
    num_classes = logits.shape[1]
    soft = F.one_hot(target, num_classes).to(logits.dtype) if target.ndim == 1 else target.to(logits.dtype)
    smooth = soft * (1 - smoothing) + smoothing / num_classes
    each = weights if weights is not None else torch.ones(num_classes, dtype=logits.dtype, device=logits.device)
    log_p = logits.log_softmax(dim=1)
    losses = -(each * smooth * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1)
    # As cross_entropy divides: by the weights of hard targets, by the number of clips for soft ones.
    return losses.sum() / (each[target].sum() if target.ndim == 1 else len(logits))


def sigmoid_focal(logits: Tensor, target: Tensor, weights: Tensor | None, gamma: float) -> Tensor:
    """Torchvision's focal loss of several labels, the weighted mean over clips and classes.

    Args:
        logits: (B, K).
        target: From 0 to 1, (B, K).
        weights: Of the classes, (K,).
        gamma: See :class:`Loss`.
    """
    losses: Tensor = sigmoid_focal_loss(logits, target.to(logits.dtype), alpha=-1, gamma=gamma)
    return losses.mean() if weights is None else (losses * weights).mean()
