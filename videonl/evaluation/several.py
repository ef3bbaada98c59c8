"""Metrics of several labels: average precision, F1 and hits, of probabilities (N, K) and targets of 0 and 1, (N, K)."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videonl.evaluation.intervals import Floats, Interval, Statistic, bootstrap, share_of

THRESHOLD = 0.5  # a class is predicted from this probability on, unless another threshold was chosen


Places = NDArray[np.int64]


class _Ranking(NamedTuple):
    """The videos of one class, the most probable first.

    Videos of equal probability cannot be told apart: a positive's precision is that at the last of them.
    """

    order: Places  # (N,) indices
    is_true: Floats  # (N,) in that order
    positives: Places  # places of the positives in the order
    ends: Places  # for each of those, the place of the last video of equal probability


def average_precisions(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Average precision of each class over all videos, (K,) float64; NaN for a class without a positive.

    The mean over the positives of a class of the precision at their place in the ranking, as Charades is scored and as
    scikit-learn's ``average_precision_score`` has it.
    """
    once = np.ones((1, len(targets)))
    return torch.tensor([_precision(ranking, once)[0] for ranking in _rankings(probabilities, targets)]).double()


def mean_average_precision(probabilities: Tensor, targets: Tensor) -> Statistic:
    """MAP as a function of how often each video is drawn: the mean over the classes that have a drawn positive."""
    rankings = [ranking for ranking in _rankings(probabilities, targets) if len(ranking.positives)]

    def statistic(counts: Floats) -> Floats:
        total, known = np.zeros(len(counts)), np.zeros(len(counts))
        for ranking in rankings:
            precision = _precision(ranking, counts)
            known += ~np.isnan(precision)
            total += np.nan_to_num(precision)
        return total / np.where(known > 0, known, np.nan)

    return statistic


def _rankings(probabilities: Tensor, targets: Tensor) -> list[_Ranking]:
    rankings = []
    for scores, truth in zip(probabilities.double().numpy().T, targets.numpy().T, strict=True):
        order = np.argsort(-scores, kind="stable").astype(np.int64)
        ranked, is_true = scores[order], truth[order].astype(np.float64)
        positives = np.flatnonzero(is_true).astype(np.int64)
        ends = np.searchsorted(-ranked, -ranked[positives], side="right") - 1
        rankings.append(_Ranking(order, is_true, positives, ends))
    return rankings


def _precision(ranking: _Ranking, counts: Floats) -> Floats:
    """Average precision (R,) where videos are drawn so often, (R, N); NaN without a drawn positive."""
    drawn = counts[:, ranking.order]
    before = drawn.cumsum(axis=1)[:, ranking.ends]
    own = drawn[:, ranking.positives]
    true_before = np.concatenate([np.zeros((len(own), 1)), own.cumsum(axis=1)], axis=1)
    last = np.searchsorted(ranking.positives, ranking.ends, side="right")
    precision = true_before[:, last] / np.maximum(before, 1)
    num_drawn = own.sum(axis=1)
    mean: Floats = (own * precision).sum(axis=1) / np.where(num_drawn > 0, num_drawn, np.nan)
    return mean


def f1_micro(probabilities: Tensor, targets: Tensor, threshold: float = THRESHOLD) -> Statistic:
    """F1 of all decisions of all classes together; 0 where nothing is true nor predicted."""
    predicted, true = _decisions(probabilities, targets, threshold)
    right, all_of_both = (predicted * true).sum(axis=1), (predicted + true).sum(axis=1)
    return lambda counts: _ratio(2 * (counts @ right), counts @ all_of_both)


def f1_macro(probabilities: Tensor, targets: Tensor, threshold: float = THRESHOLD) -> Statistic:
    """The mean of the F1 of the classes that have a drawn positive."""
    predicted, true = _decisions(probabilities, targets, threshold)

    def statistic(counts: Floats) -> Floats:
        of_classes = _ratio(2 * (counts @ (predicted * true)), counts @ (predicted + true))
        known = counts @ true > 0
        return _ratio((of_classes * known).sum(axis=1), known.sum(axis=1).astype(np.float64))

    return statistic


def _decisions(probabilities: Tensor, targets: Tensor, threshold: float) -> tuple[Floats, Floats]:
    return (probabilities >= threshold).double().numpy(), targets.double().numpy()


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = part / np.where(whole > 0, whole, 1)
    return ratio


def best_threshold(probabilities: Tensor, targets: Tensor) -> float:
    """The threshold of the highest micro F1, among the probabilities themselves; of equally good ones the highest."""
    scores, order = probabilities.double().flatten().sort(descending=True, stable=True)
    right = targets.flatten()[order].cumsum(0).double()
    predicted = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    f1 = 2 * right / (predicted + targets.sum())
    is_last = torch.cat([scores[1:] != scores[:-1], torch.tensor([True])])  # equal probabilities are decided alike
    return float(scores[f1.where(is_last, torch.tensor(-1.0, dtype=torch.float64)).argmax()])


def top_hits(probabilities: Tensor, targets: Tensor, k: int = 1) -> Floats:
    """1 for each video with a true class among its k most probable ones, 0 otherwise, (N,); the first of equal ones."""
    best = probabilities.argsort(dim=1, descending=True, stable=True)[:, :k]
    hits: Floats = targets.gather(1, best).amax(dim=1).double().numpy()
    return hits


def statistics_of(probabilities: Tensor, targets: Tensor, threshold: float | None = None) -> dict[str, Statistic]:
    """Each metric by its name, as a function of how often each video is drawn; see :func:`several_metrics`."""
    found = {
        "map": mean_average_precision(probabilities, targets),
        "f1": f1_micro(probabilities, targets),
        "f1_macro": f1_macro(probabilities, targets),
        "hit1": share_of(top_hits(probabilities, targets)),
    }
    if probabilities.shape[1] > 5:
        found["hit5"] = share_of(top_hits(probabilities, targets, k=5))
    if threshold is not None:
        found["best_f1"] = f1_micro(probabilities, targets, threshold)
    return found


def several_metrics(probabilities: Tensor, targets: Tensor, threshold: float | None = None) -> dict[str, float]:
    """The metrics of videos with several labels, all from 0 to 1.

    Args:
        probabilities: One row per video, (N, K).
        targets: 1 for each class of a video, else 0, (N, K).
        threshold: One that was chosen on the validation videos.

    Returns:
        ``map`` (the mean of the average precisions of the classes with a positive; NaN where there is none), ``f1`` and
        ``f1_macro`` at the threshold 0.5, ``hit1`` (the share of videos whose most probable class is true), with more
        than five classes ``hit5``, and with a threshold ``best_f1``, the micro F1 there.
    """
    once = np.ones((1, len(targets)))
    return {name: float(value(once)[0]) for name, value in statistics_of(probabilities, targets, threshold).items()}


def several_intervals(probabilities: Tensor, targets: Tensor, threshold: float | None = None) -> dict[str, Interval]:
    """95 % bootstrap intervals over videos of :func:`several_metrics`, by the same names."""
    statistics = statistics_of(probabilities, targets, threshold)
    return {name: bootstrap(statistic, len(targets)) for name, statistic in statistics.items()}


def without_positive(targets: Tensor, names: list[str]) -> list[str]:
    """The classes that no video has, which are left out of the mAP."""
    return [name for name, has in zip(names, targets.any(dim=0).tolist(), strict=True) if not has]
