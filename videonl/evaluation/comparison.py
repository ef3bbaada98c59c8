"""Two evaluations of the same videos, compared video by video."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from videonl.errors import UserError
from videonl.evaluation.intervals import (
    CONFIDENCE,
    Floats,
    Interval,
    Statistic,
    bootstrap,
    mean_class_share_of,
    share_of,
)
from videonl.evaluation.record import Record
from videonl.evaluation.views import VideoScore

_NUM_SHOWN = 3


class Difference(NamedTuple):
    """A figure of both, and B minus A with the 95% interval of the paired bootstrap; all from -1 to 1."""

    a: float
    b: float
    difference: float
    interval: Interval


class ClassChange(NamedTuple):
    """What changed for the videos of one class."""

    name: str
    num_videos: int
    a: float
    b: float
    num_fixed: int
    num_broken: int


class Changed(NamedTuple):
    """A video that one evaluation has right and the other wrong."""

    a: VideoScore
    b: VideoScore


@dataclass(frozen=True)
class Comparison:
    """How evaluation B differs from evaluation A.

    Attributes:
        num_videos: Videos compared: those with a known class.
        class_names: Names in the order of A's labels.
        metrics: ``top1`` and ``mean_class``.
        fixed: Videos that A has wrong and B right, the surest answers of B first.
        broken: Videos that A has right and B wrong, the surest answers of B first.
        p_value: Of McNemar's exact test: how likely so uneven a split of the changed videos would be by chance.
        classes: Every class that occurs, the most gained first.
    """

    num_videos: int
    class_names: list[str]
    metrics: dict[str, Difference]
    fixed: list[Changed]
    broken: list[Changed]
    p_value: float
    classes: list[ClassChange]

    @property
    def verdict(self) -> str:
        """Whether the videos tell A and B apart, in a sentence: where the interval and McNemar's test both say so."""
        low, high = self.metrics["top1"].interval
        if low <= 0 <= high:
            return "These videos do not tell A and B apart: the interval of the difference in top-1 holds zero."
        if self.p_value >= 1 - CONFIDENCE:
            changed = len(self.fixed) + len(self.broken)
            return (
                f"These videos do not tell A and B apart: {changed} changed, too few for their direction to mean much "
                f"(p = {self.p_value:.3g}) and for the interval, which is too narrow then."
            )
        return f"On videos like these, B is {'better' if low > 0 else 'worse'} than A, by top-1."


def compare(a: Record, b: Record) -> Comparison:
    """Compares two evaluations of the same videos.

    Args:
        a: The one to compare with.
        b: The one asked about.

    Raises:
        UserError: They are of other videos, classes or labels; the message says which.
    """
    pairs = _pairs(a, b)
    labels = np.array([pair.a.label for pair in pairs])
    hits_a, hits_b = (
        np.array([score.prediction == score.label for score in scores], dtype=np.float64)
        for scores in zip(*pairs, strict=True)
    )
    fixed = [pair for pair, change in zip(pairs, hits_b - hits_a, strict=True) if change > 0]
    broken = [pair for pair, change in zip(pairs, hits_b - hits_a, strict=True) if change < 0]
    return Comparison(
        num_videos=len(pairs),
        class_names=a.class_names,
        metrics=_differences(hits_a, hits_b, labels),
        fixed=sorted(fixed, key=_surest),
        broken=sorted(broken, key=_surest),
        p_value=mcnemar(len(fixed), len(broken)),
        classes=_class_changes(hits_a, hits_b, labels, a.class_names),
    )


def mcnemar(num_fixed: int, num_broken: int) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar 1947): changes in either direction are equally likely.

    >>> mcnemar(1, 5)
    0.21875
    """
    changed, fewer = num_fixed + num_broken, min(num_fixed, num_broken)
    tail = sum(math.comb(changed, count) for count in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << changed))


def _differences(hits_a: Floats, hits_b: Floats, labels: NDArray[np.int64]) -> dict[str, Difference]:
    return {
        "top1": _difference(hits_a, hits_b, share_of),
        "mean_class": _difference(hits_a, hits_b, lambda values: mean_class_share_of(values, labels)),
    }


def _difference(hits_a: Floats, hits_b: Floats, statistic_of: Callable[[Floats], Statistic]) -> Difference:
    once = np.ones((1, len(hits_a)))  # every video drawn once: the figure itself
    a, b = (float(statistic_of(hits)(once)[0]) for hits in (hits_a, hits_b))
    # Both figures are linear in the hits, so resampling the differences resamples the pairs.
    return Difference(a, b, b - a, bootstrap(statistic_of(hits_b - hits_a), len(hits_a)))


def _class_changes(
    hits_a: Floats, hits_b: Floats, labels: NDArray[np.int64], names: Sequence[str]
) -> list[ClassChange]:
    changes = []
    for label in np.unique(labels):
        mine_a, mine_b = hits_a[labels == label], hits_b[labels == label]
        fixed, broken = int((mine_b > mine_a).sum()), int((mine_b < mine_a).sum())
        changes.append(
            ClassChange(names[label], len(mine_a), float(mine_a.mean()), float(mine_b.mean()), fixed, broken)
        )
    return sorted(changes, key=lambda change: (change.a - change.b, change.name))


def _surest(pair: Changed) -> tuple[float, str]:
    return -float(pair.b.probabilities.max()), pair.b.path


def _pairs(a: Record, b: Record) -> list[Changed]:
    """The same video in both, with B's classes in the order of A's."""
    _refuse_others("classes", set(a.class_names), set(b.class_names))
    by_path_a, by_path_b = _by_path(a), _by_path(b)
    _refuse_others("videos", set(by_path_a), set(by_path_b))
    order = [b.class_names.index(name) for name in a.class_names]
    pairs = [Changed(score, _reordered(by_path_b[path], order)) for path, score in by_path_a.items()]
    others = [pair.a.path for pair in pairs if pair.a.label != pair.b.label]
    if others:
        raise UserError(f"{len(others)} videos have another label in B than in A, such as {others[0]}")
    return pairs


def _by_path(record: Record) -> dict[str, VideoScore]:
    by_path = {score.path: score for score in record.labelled}
    if not by_path:
        raise UserError("no video has a known class, so there are no accuracies to compare")
    if len(by_path) < len(record.labelled):
        raise UserError("an evaluation holds some videos more than once; remove the repetitions from its list")
    return by_path


def _reordered(score: VideoScore, order: Sequence[int]) -> VideoScore:
    """The score with its classes in another order: place i holds the class that was at ``order[i]``."""
    logits = score.logits[:, torch.tensor(order)]
    return VideoScore(score.video, score.path, order.index(score.label), logits, score.views, score.average)


def _refuse_others(what: str, a: set[str], b: set[str]) -> None:
    if a != b:
        parts = [
            f"only {name} has {len(rest)}: {', '.join(sorted(rest)[:_NUM_SHOWN])}{', ...' * (len(rest) > _NUM_SHOWN)}"
            for name, rest in (("A", a - b), ("B", b - a))
            if rest
        ]
        raise UserError(f"the two evaluations are not of the same {what}; {'; '.join(parts)}. Evaluate both on one set")
