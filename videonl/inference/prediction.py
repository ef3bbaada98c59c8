"""What a network says of one video."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

from torch import Tensor

from videonl.evaluation import Average, VideoScore
from videonl.evaluation.several import THRESHOLD
from videonl.evaluation.views import SEVERAL_LABELS
from videonl.terminal import printable

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Prediction:
    """The classes that a network sees in one video.

    Attributes:
        video: The file, or what the video is called.
        class_names: Names in the order of the logits.
        logits: One row per view, (V, K) float32, on the CPU.
        views: The number of each view's clip and of its crop, from 0.
        average: How the views are averaged: ``softmax`` or ``logits``; of several labels ``sigmoid`` or ``max``.
        target: The true class, where the source gives one that the network knows; of several labels a tuple of them.
        threshold: Of several labels, the probability from which :attr:`labels` takes a class as seen.

    Examples:
        >>> import torch
        >>> prediction = Prediction("a.mp4", ["hug", "kick"], torch.tensor([[0.0, 2.0]]), ((0, 0),))
        >>> prediction.label, round(prediction.probability, 3)
        ('kick', 0.881)
        >>> print(prediction)
        a.mp4, 1 view
          88.08 %  kick
          11.92 %  hug
    """

    video: str
    class_names: Sequence[str]
    logits: Tensor
    views: tuple[tuple[int, int], ...]
    average: Average = "softmax"
    target: str | tuple[str, ...] | None = None
    threshold: float = THRESHOLD

    @cached_property
    def scores(self) -> Tensor:
        """Of every class its probability, averaged over the views, (K,) float64; of one label they sum to 1."""
        return self._score.probabilities

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.class_names[self._score.prediction]

    @property
    def probability(self) -> float:
        """That of the most probable class, from 0 to 1."""
        return float(self.scores.max())

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of every class by its name, in the order of the logits."""
        return dict(zip(self.class_names, self.scores.tolist(), strict=True))

    @property
    def labels(self) -> list[str]:
        """The classes that are seen: of several labels all from :attr:`threshold` on, the most probable first."""
        if self.average not in SEVERAL_LABELS:
            return [self.label]
        return [name for name, probability in self.top(len(self.class_names)) if probability >= self.threshold]

    def top(self, k: int = _SHOWN) -> list[tuple[str, float]]:
        """The k most probable classes and their probabilities, the most probable first."""
        best = self.scores.argsort(descending=True, stable=True)[:k].tolist()
        return [(self.class_names[index], float(self.scores[index])) for index in best]

    @property
    def _score(self) -> VideoScore:
        return VideoScore(0, self.video, -1, self.logits, self.views, self.average)

    def __str__(self) -> str:
        views = f"{len(self.views)} view{'s' * (len(self.views) != 1)}"
        lines = [f"{100 * probability:7.2f} %  {printable(name)}" for name, probability in self.top()]
        return "\n".join([f"{printable(self.video)}, {views}", *lines])

    def __repr__(self) -> str:
        return f"Prediction({self.video!r}: {self.label!r}, probability {self.probability:.4f})"

    def _repr_html_(self) -> str:
        """A table with bars, for notebooks."""
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(printable(name))}</td><td>{100 * probability:.2f} %</td>'
            f'<td><div style="background:#4c78a8;height:0.8em;width:{120 * probability:.1f}px"></div></td></tr>'
            for name, probability in self.top()
        )
        return f"<table><caption>{escape(printable(self.video))}</caption>{rows}</table>"
