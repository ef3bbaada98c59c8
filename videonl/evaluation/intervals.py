"""Bootstrap intervals: how much a metric would vary with other videos of the same kind."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95
FEW_VIDEOS = 100
_AT_ONCE = 4_000_000  # entries of the table of counts that is held at once
Floats = NDArray[np.float64]
# From how often each video was drawn, (R, N), to one value per resample, (R,).
Statistic = Callable[[Floats], Floats]


class Interval(NamedTuple):
    """The range between two percentiles."""

    low: float
    high: float


def bootstrap(statistic: Statistic, num_videos: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Interval:
    """95% percentile interval of a statistic over videos (Efron 1979).

    Each resample draws as many videos as there are, with replacement. The same seed and number of videos
    draw the same resamples.

    Args:
        statistic: From counts (R, N), how often each video was drawn, to one value per resample (R,).
        num_videos: N.
        num_resamples: Number of resamples.
        seed: Seed of the resamples.
    """
    return central(np.concatenate([statistic(counts) for counts in resamples(num_videos, num_resamples, seed)]))


def central(values: Floats) -> Interval:
    """The range of the middle 95% of the values of resamples."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def resamples(num_videos: int, num_resamples: int, seed: int) -> Iterator[Floats]:
    """How often each video is drawn, (R, N), in pieces of some resamples each."""
    generator = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // num_videos)
    for start in range(0, num_resamples, step):
        rows = min(step, num_resamples - start)
        drawn = generator.integers(num_videos, size=(rows, num_videos))
        drawn += np.arange(rows)[:, None] * num_videos  # each resample counts in a row of its own
        counts = np.bincount(drawn.ravel(), minlength=rows * num_videos)
        yield counts.reshape(rows, num_videos).astype(np.float64)


def share_of(hits: Floats) -> Statistic:
    """The mean of one value per video, such as 1 for a hit and 0 for a miss, (N,)."""
    return lambda counts: counts @ hits / len(hits)


def mean_class_share_of(hits: Floats, labels: NDArray[np.int64]) -> Statistic:
    """The mean over classes of the mean of one value per video (N,); a class without a drawn video is left out."""
    by_class = np.argsort(labels, kind="stable")
    begins = np.unique(labels[by_class], return_index=True)[1]

    def statistic(counts: Floats) -> Floats:
        counts = counts[:, by_class]
        sizes = np.add.reduceat(counts, begins, axis=1)  # (R, classes that occur)
        shares: Floats = np.add.reduceat(counts * hits[by_class], begins, axis=1) / np.maximum(sizes, 1)
        mean: Floats = shares.sum(axis=1) / (sizes > 0).sum(axis=1)
        return mean

    return statistic


def macro_f1_of(predictions: NDArray[np.int64], labels: NDArray[np.int64]) -> Statistic:
    """The mean over classes of F1; a class that is neither among the drawn labels nor predictions is left out.

    Args:
        predictions: The class that is predicted for each video, (N,); -1 for none.
        labels: True classes, (N,).
    """
    classes = np.union1d(predictions[predictions >= 0], labels)
    said, true = ((each[:, None] == classes).astype(np.float64) for each in (predictions, labels))

    def statistic(counts: Floats) -> Floats:
        right, both = counts @ (said * true), counts @ (said + true)
        f1 = 2 * right / np.maximum(both, 1)
        mean: Floats = f1.sum(axis=1) / np.maximum((both > 0).sum(axis=1), 1)
        return mean

    return statistic


def predicted(probabilities: Tensor) -> NDArray[np.int64]:
    """The most probable class of each video, (N,); -1 where a probability is NaN."""
    found: NDArray[np.int64] = probabilities.argmax(dim=1).masked_fill(probabilities.isnan().any(dim=1), -1).numpy()
    return found


def hits_of(probabilities: Tensor, labels: Tensor, k: int = 1) -> Floats:
    """1 for each video whose class is among the k most probable, 0 otherwise, (N,).

    Among equally probable classes the first one counts as more probable, as in ``argmax``, and NaN is not a hit: the
    share of hits is then the same wherever it is computed.
    """
    own = probabilities.gather(1, labels[:, None])
    is_earlier = torch.arange(probabilities.shape[1]) < labels[:, None]
    num_before = ((probabilities > own) | ((probabilities == own) & is_earlier)).sum(dim=1)
    hits: Floats = ((num_before < k) & ~own[:, 0].isnan()).double().numpy()
    return hits


def accuracy_intervals(probabilities: Tensor, labels: Tensor) -> dict[str, Interval]:
    """Intervals of what :func:`videonl.evaluation.metrics.accuracies` returns, by the same names.

    Args:
        probabilities: One row per video, (N, K).
        labels: True classes, (N,).
    """
    statistics = accuracy_statistics(probabilities, labels)
    return {name: bootstrap(statistic, len(labels)) for name, statistic in statistics.items()}


def accuracy_statistics(probabilities: Tensor, labels: Tensor) -> dict[str, Statistic]:
    """What :func:`videonl.evaluation.metrics.accuracies` returns, as functions of how often each video was drawn."""
    top1 = hits_of(probabilities, labels)
    statistics = {"top1": share_of(top1), "mean_class": mean_class_share_of(top1, labels.numpy())}
    statistics["macro_f1"] = macro_f1_of(predicted(probabilities), labels.numpy())
    if probabilities.shape[1] > 5:
        statistics["top5"] = share_of(hits_of(probabilities, labels, k=5))
    return statistics


def caution(num_videos: int, num_hits: int | None = None, metric: str = "top-1") -> str | None:
    """A caution about the accuracy on few videos, as text; ``None`` if there are many."""
    if num_videos >= FEW_VIDEOS:
        return None
    videos = f"{num_videos} video{'s' * (num_videos > 1)}"
    text = f"Only {videos}: each one is {100 / num_videos:.1f} points of {metric}, and the intervals are rough."
    if num_hits in (0, num_videos):
        # 1 - 0.05 ** (1 / n), the exact bound that the rule of three approximates
        bound = 100 * (1 - (1 - CONFIDENCE) ** (1 / num_videos))
        beyond = f"at least {100 - bound:.1f} %" if num_hits else f"at most {bound:.1f} %"
        outcome = "right" if num_hits else "wrong"
        text += f" All are {outcome}, so resampling shows no spread; the binomial bound at 95 % is {beyond}."
    return text
