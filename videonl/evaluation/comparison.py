"""Two evaluations of the same videos, compared video by video."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from videonl.evaluation.intervals import (
    CONFIDENCE,
    Floats,
    Interval,
    Statistic,
    bootstrap,
    mean_class_share_of,
    share_of,
)
from videonl.evaluation.pairing import Pair, pairs_of
from videonl.evaluation.record import EvaluationRecord
from videonl.evaluation.several import average_precisions, statistics_of, top_hits
from videonl.evaluation.views import stack

_CONDITIONS = ("views", "clip", "average")


class Difference(NamedTuple):
    """A metric of both, and B minus A with the 95% interval of the paired bootstrap; all from -1 to 1."""

    a: float
    b: float
    difference: float
    interval: Interval


class ClassChange(NamedTuple):
    """The change for the videos of one class."""

    name: str
    num_videos: int
    a: float
    b: float
    num_fixed: int
    num_broken: int


@dataclass(frozen=True)
class Comparison:
    """How evaluation B differs from evaluation A.

    Attributes:
        num_videos: Videos compared: those with a known class.
        class_names: Names in the order of A's labels.
        metrics: ``top1`` and ``mean_class``; of several labels ``map``, ``f1``, ``hit1`` and so on.
        fixed: Videos that A gets wrong and B right, highest confidence of B first.
        broken: Videos that A gets right and B wrong, highest confidence of B first.
        p_value: Of McNemar's exact test: probability of a split of the changed videos at least this uneven by chance;
            None of several labels, of which there is only the interval.
        classes: Every class that occurs, the most gained first.
        about: The settings of A and B by name: the records' ``about``, and ``average``.
    """

    num_videos: int
    class_names: list[str]
    metrics: dict[str, Difference]
    fixed: list[Pair]
    broken: list[Pair]
    p_value: float | None
    classes: list[ClassChange]
    about: dict[str, tuple[str, str]]

    @property
    def other_conditions(self) -> list[str]:
        """The settings other than the checkpoint in which A and B differ, in sentences."""
        return [
            f"A and B also differ in {name}: {a or 'unknown'} and {b or 'unknown'}."
            for name, (a, b) in self.about.items()
            if name in _CONDITIONS and a != b
        ]

    @property
    def verdict(self) -> str:
        """Whether the videos separate A and B, in a sentence: if the interval and McNemar's test agree."""
        of, name = ("top1", "top-1") if "top1" in self.metrics else ("map", "mAP")
        low, high = self.metrics[of].interval
        if low <= 0 <= high:
            return f"These videos do not separate A and B: the interval of the difference in {name} contains zero."
        if self.p_value is not None and self.p_value >= 1 - CONFIDENCE:
            changed = len(self.fixed) + len(self.broken)
            return (
                f"These videos do not separate A and B: {changed} changed, too few for a conclusion "
                f"(p = {self.p_value:.3g}) and for the interval, which is too narrow."
            )
        return f"On videos like these, B is {'better' if low > 0 else 'worse'} than A, by {name}."


def compare(a: EvaluationRecord, b: EvaluationRecord) -> Comparison:
    """Compares two evaluations of the same videos.

    Args:
        a: The baseline.
        b: The evaluation to compare with it.

    Raises:
        UserError: Their videos, classes or labels differ; the message says which.
    """
    pairs = pairs_of(a, b)
    if a.has_several_labels:
        return _compare_several(a, b, pairs)
    labels = np.array([pair.a.true_class for pair in pairs])
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
        about=_about(a, b),
    )


def _compare_several(a: EvaluationRecord, b: EvaluationRecord, pairs: Sequence[Pair]) -> Comparison:
    """Fixed and broken are the videos whose most probable class became true or false."""
    (of_a, targets), (of_b, _) = (stack(scores) for scores in zip(*pairs, strict=True))
    hits_a, hits_b = top_hits(of_a, targets), top_hits(of_b, targets)
    fixed = [pair for pair, change in zip(pairs, hits_b - hits_a, strict=True) if change > 0]
    broken = [pair for pair, change in zip(pairs, hits_b - hits_a, strict=True) if change < 0]
    in_a, in_b = statistics_of(of_a, targets), statistics_of(of_b, targets)
    precisions = zip(
        average_precisions(of_a, targets).tolist(), average_precisions(of_b, targets).tolist(), strict=True
    )
    changes = [
        ClassChange(a.class_names[index], num_videos, *both, *_moved(hits_a, hits_b, targets[:, index].numpy()))
        for index, (num_videos, both) in enumerate(zip(targets.sum(dim=0).tolist(), precisions, strict=True))
        if num_videos
    ]
    return Comparison(
        num_videos=len(pairs),
        class_names=a.class_names,
        metrics={name: _paired(in_a[name], in_b[name], len(pairs)) for name in in_a},
        fixed=sorted(fixed, key=_surest),
        broken=sorted(broken, key=_surest),
        p_value=None,
        classes=sorted(changes, key=lambda change: (change.a - change.b, change.name)),
        about=_about(a, b),
    )


def _paired(of_a: Statistic, of_b: Statistic, num_videos: int) -> Difference:
    once = np.ones((1, num_videos))
    a, b = float(of_a(once)[0]), float(of_b(once)[0])
    return Difference(a, b, b - a, bootstrap(lambda counts: of_b(counts) - of_a(counts), num_videos))


def _moved(hits_a: Floats, hits_b: Floats, has_class: NDArray[np.int64]) -> tuple[int, int]:
    change = (hits_b - hits_a) * has_class
    return int((change > 0).sum()), int((change < 0).sum())


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


def _surest(pair: Pair) -> tuple[float, str]:
    return -float(pair.b.probabilities.max()), pair.b.path


def _about(a: EvaluationRecord, b: EvaluationRecord) -> dict[str, tuple[str, str]]:
    done_a, done_b = ({**record.about, "average": record.average} for record in (a, b))
    return {name: (done_a.get(name, ""), done_b.get(name, "")) for name in done_a | done_b}
