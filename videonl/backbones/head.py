"""Averaging in a ResNet's head over clips that are larger than those of the training."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from videonl.backbones.window_pool import WindowPool
from videonl.errors import UserError

Averaged = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Head:
    """What the head averages. It does not change the weights, nor the logits while one window covers the grid.

    Attributes:
        window: Height and width of the windows that are averaged at stride 1, in cells of the last stage; each spans
            all frames. None averages all cells equally. Overlapping windows count the middle of the grid more.
        averaged: What of the windows is averaged: their logits, or their probabilities.
    """

    window: int | None = None
    averaged: Averaged = "logits"

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise UserError(f"head: window must be at least 1 or null, got {self.window}")
        if self.averaged not in get_args(Averaged):
            raise UserError(f"head: averaged must be one of {', '.join(get_args(Averaged))}; got {self.averaged!r}")


HEADS: dict[str, Head] = {
    "mean": Head(),
    "windows": Head(window=7),
    "windows_softmax": Head(window=7, averaged="probabilities"),
}
"""``windows`` is pytorchvideo's head, ``windows_softmax`` that of PySlowFast and video-nonlocal-net in their tests."""


def as_head(head: str | Mapping[str, Any]) -> Head:
    """The head of an option.

    Args:
        head: A name of ``HEADS``, or the fields of :class:`Head`.

    Raises:
        UserError: For a name, field or value that there is not; the message lists those that there are.
    """
    if isinstance(head, str):
        if head not in HEADS:
            raise UserError(f"head must be one of {', '.join(HEADS)}; got {head!r}")
        return HEADS[head]
    names = [each.name for each in fields(Head)]
    for name in head:
        if name not in names:
            raise UserError(f"head has no {name!r}; it has: {', '.join(names)}")
    return Head(**head)


def head_option(head: Head) -> str | dict[str, Any]:
    """The option that :func:`as_head` reads as this head, by name where it has one.

    >>> head_option(Head(window=7)), head_option(Head(window=8))
    ('windows', {'window': 8, 'averaged': 'logits'})
    """
    return next((name for name, known in HEADS.items() if known == head), asdict(head))


def set_head(basic: nn.Module, head: Head) -> None:
    """Has a ``ResNetBasicHead`` of pytorchvideo, which pools, projects and averages, do so as ``head`` says."""
    if head.window is not None:
        basic.pool = WindowPool((None, head.window, head.window))
    if head.averaged == "probabilities":
        basic.output_pool = MeanOfProbabilities()


class MeanOfProbabilities(nn.Module):
    """Averages the probabilities of positions, and returns logits that have the mean as their softmax."""

    def forward(self, logits: Tensor) -> Tensor:
        """Maps logits (B, K, T, H, W) to (B, K, 1, 1, 1); those of a single position stay as they are."""
        flat = logits.flatten(2)  # (B, K, T, H, W) -> (B, K, N)
        normalizer = flat.logsumexp(dim=1, keepdim=True)
        mean = torch.logsumexp(flat - normalizer, dim=2) - math.log(flat.shape[2])
        # Softmax does not see what is added to all classes alike, and one position keeps its logits.
        return (mean + normalizer.mean(dim=2))[..., None, None, None]
