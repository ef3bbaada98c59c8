"""Two evaluations of the same videos, compared video by video."""

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
from videonl.evaluation.several import (
    THRESHOLD,
    average_precisions,
    f1_of,
    hit_share_of,
    mean_average_precision_of,
)
from videonl.evaluation.views import VideoScore, stack

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
        metrics: ``top1`` and ``mean_class``; of several labels ``map``, ``f1`` and ``hit1``.
        fixed: Videos that A gets wrong and B right, highest confidence of B first. Of several labels, right is a video
            whose most probable class is a true one.
        broken: Videos that A gets right and B wrong, highest confidence of B first.
        p_value: Of McNemar's exact test: probability of a split of the changed videos at least this uneven by chance.
        classes: Every class that occurs, the most gained first: its accuracy, or of several labels its average
            precision; there, fixed and broken are videos of the class that only B, or only A, gives a half or more.
        about: The settings of A and B by name: the records' ``about``, and ``average``.
    """

    num_videos: int
    class_names: list[str]
    metrics: dict[str, Difference]
    fixed: list[Pair]
    broken: list[Pair]
    p_value: float
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
        metric, name = ("map", "mAP") if "map" in self.metrics else ("top1", "top-1")
        low, high = self.metrics[metric].interval
        if low <= 0 <= high:
            return f"These videos do not separate A and B: the interval of the difference in {name} contains zero."
        if metric == "top1" and self.p_value >= 1 - CONFIDENCE:
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
    scores_a, scores_b = zip(*pairs, strict=True)
    hits_a, hits_b = (
        np.array([score.prediction in score.labels for score in scores], dtype=np.float64)
        for scores in (scores_a, scores_b)
    )
    if a.has_several_labels:
        metrics, classes = _differences_of_several(scores_a, scores_b), _changes_of_several(scores_a, scores_b, a)
    else:
        labels = np.array([score.label for score in scores_a])
        metrics, classes = _differences(hits_a, hits_b, labels), _class_changes(hits_a, hits_b, labels, a.class_names)
    fixed = [pair for pair, change in zip(pairs, hits_b - hits_a, strict=True) if change > 0]
    broken = [pair for pair, change in zip(pairs, hits_b - hits_a, strict=True) if change < 0]
    return Comparison(
        num_videos=len(pairs),
        class_names=a.class_names,
        metrics=metrics,
        fixed=sorted(fixed, key=_surest),
        broken=sorted(broken, key=_surest),
        p_value=mcnemar(len(fixed), len(broken)),
        classes=classes,
        about=_about(a, b),
    )


def mcnemar(num_fixed: int, num_broken: int) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar 1947): changes in either direction are equally likely.

    >>> round(mcnemar(1, 5), 9)
    0.21875
    """
    from scipy.special import bdtr  # here: most commands compare nothing

    return min(1.0, 2 * float(bdtr(min(num_fixed, num_broken), num_fixed + num_broken, 0.5)))


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


def _differences_of_several(a: Sequence[VideoScore], b: Sequence[VideoScore]) -> dict[str, Difference]:
    (probabilities_a, targets), (probabilities_b, _) = stack(a), stack(b)
    labeled = targets.sum(dim=1) > 0
    found = {
        "map": [mean_average_precision_of(each, targets) for each in (probabilities_a, probabilities_b)],
        "f1": [f1_of(each, targets, THRESHOLD) for each in (probabilities_a, probabilities_b)],
        "hit1": [hit_share_of(each, targets) for each in (probabilities_a, probabilities_b)],
    }
    if not bool(labeled.any()):
        del found["hit1"]
    return {name: _between(both[0], both[1], len(a)) for name, both in found.items()}


def _between(of_a: Statistic, of_b: Statistic, num_videos: int) -> Difference:
    once = np.ones((1, num_videos))
    a, b = float(of_a(once)[0]), float(of_b(once)[0])
    return Difference(a, b, b - a, bootstrap(lambda counts: of_b(counts) - of_a(counts), num_videos))


def _changes_of_several(
    a: Sequence[VideoScore], b: Sequence[VideoScore], record: EvaluationRecord
) -> list[ClassChange]:
    (probabilities_a, targets), (probabilities_b, _) = stack(a), stack(b)
    both = [average_precisions(each, targets) for each in (probabilities_a, probabilities_b)]
    changes = []
    for label, name in enumerate(record.class_names):
        mine = targets[:, label] > 0
        if num_videos := int(mine.sum()):
            seen_a, seen_b = (each[mine, label] >= THRESHOLD for each in (probabilities_a, probabilities_b))
            fixed, broken = int((seen_b & ~seen_a).sum()), int((seen_a & ~seen_b).sum())
            changes.append(ClassChange(name, num_videos, float(both[0][label]), float(both[1][label]), fixed, broken))
    return sorted(changes, key=lambda change: (change.a - change.b, change.name))


def _surest(pair: Pair) -> tuple[float, str]:
    return -float(pair.b.probabilities.max()), pair.b.path


def _about(a: EvaluationRecord, b: EvaluationRecord) -> dict[str, tuple[str, str]]:
    done_a, done_b = ({**record.about, "average": record.average} for record in (a, b))
    return {name: (done_a.get(name, ""), done_b.get(name, "")) for name in done_a | done_b}
