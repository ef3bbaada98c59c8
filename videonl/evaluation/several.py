"""Metrics of videos with any number of classes each: average precision, F1 at a threshold, hits."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videonl.evaluation.intervals import Floats, Interval, Statistic, bootstrap

THRESHOLD = 0.5


def average_precisions(probabilities: Tensor, targets: Tensor) -> Floats:
    """The average precision of every class, (K,): NaN where no video is of the class.

    The mean precision at each video of the class, by falling probability; videos of equal probability are one step, as
    in scikit-learn's ``average_precision_score``. Without such ties it is the definition of the Charades challenge.

    Args:
        probabilities: One row per video, (N, K).
        targets: 1 for each true class of a video and else 0, (N, K).
    """
    once = np.ones((1, len(targets)))
    scores, truth = probabilities.double().numpy(), targets.numpy()
    return np.array([_precision_of(*columns)(once)[0] for columns in zip(scores.T, truth.T, strict=True)])


def mean_average_precision_of(probabilities: Tensor, targets: Tensor) -> Statistic:
    """mAP: the mean over classes of their average precision; a class without a drawn video is left out."""
    scores, truth = probabilities.double().numpy(), targets.numpy()
    classes = [_precision_of(*columns) for columns in zip(scores.T, truth.T, strict=True) if columns[1].any()]

    def statistic(counts: Floats) -> Floats:
        total, number = np.zeros(len(counts)), np.zeros(len(counts))
        for precision_of in classes:
            values = precision_of(counts)
            known = ~np.isnan(values)
            total += np.where(known, values, 0.0)
            number += known
        mean: Floats = total / np.maximum(number, 1)
        return mean

    return statistic


def _precision_of(scores: Floats, truth: NDArray[np.int64]) -> Statistic:
    """The average precision of one class, as a function of how often each video was drawn."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of videos of equal probability
    positives = np.flatnonzero(truth[order])
    # Precision is needed at the steps alone that have a true video: videos between two of them are counted together.
    steps = np.unique(ends[np.searchsorted(ends, positives)])
    part_of = np.searchsorted(steps, np.arange(len(order)))
    firsts = np.searchsorted(positives, np.append(-1, steps[:-1]), side="right")  # positives after the step before

    def statistic(counts: Floats) -> Floats:
        # Whole numbers, which float32 holds exactly; a product of matrices is faster than to gather and add.
        parts = torch.zeros(len(order), len(steps) + 1)
        parts[torch.from_numpy(order), torch.from_numpy(part_of)] = 1
        drawn = torch.from_numpy(counts).float()
        taken = (drawn @ parts[:, :-1]).double().cumsum(dim=1).numpy()
        gains = np.add.reduceat(counts[:, order[positives]], firsts, axis=1)
        found = np.cumsum(gains, axis=1)
        with np.errstate(invalid="ignore"):  # no video of the class was drawn: NaN
            value: Floats = (gains * found / np.maximum(taken, 1)).sum(axis=1) / found[:, -1]
        return value

    def unknown(counts: Floats) -> Floats:
        return np.full(len(counts), np.nan)

    return statistic if len(positives) else unknown


def f1_of(probabilities: Tensor, targets: Tensor, threshold: float) -> Statistic:
    """Micro-averaged F1: of all pairs of a video and a class, those that are predicted against those that are true."""
    predicted, true = (probabilities >= threshold).double().numpy(), targets.double().numpy()
    right, both = (predicted * true).sum(axis=1), (predicted + true).sum(axis=1)

    def statistic(counts: Floats) -> Floats:
        value: Floats = 2 * (counts @ right) / np.maximum(counts @ both, 1)
        return value

    return statistic


def macro_f1_at(probabilities: Tensor, targets: Tensor, threshold: float) -> Statistic:
    """Macro-averaged F1: the mean of the F1 of every class; a class without a drawn video is left out."""
    predicted, true = (probabilities >= threshold).double().numpy(), targets.double().numpy()

    def statistic(counts: Floats) -> Floats:
        of_class = 2 * (counts @ (predicted * true)) / np.maximum(counts @ (predicted + true), 1)
        has_video = counts @ true > 0
        value: Floats = (of_class * has_video).sum(axis=1) / np.maximum(has_video.sum(axis=1), 1)
        return value

    return statistic


def best_threshold(probabilities: Tensor, targets: Tensor) -> float:
    """The probability from which a class counts as predicted, such that micro-averaged F1 is highest.

    Args:
        probabilities: One row per video, (N, K).
        targets: 1 for each true class of a video and else 0, (N, K).

    Returns:
        One of the probabilities; the highest one where several are equally good.
    """
    flat, true = probabilities.double().flatten(), targets.flatten().double()
    order = flat.argsort(descending=True, stable=True)
    sorted_scores, found = flat[order].numpy(), true[order].cumsum(0).numpy()
    ends = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
    f1 = 2 * found[ends] / np.maximum(ends + 1 + float(true.sum()), 1)
    return float(sorted_scores[ends[int(f1.argmax())]])


def hits_among(probabilities: Tensor, targets: Tensor, k: int = 1) -> Floats:
    """1 for each video of which a true class is among the k most probable, else 0; only of videos with a class."""
    labeled = targets.sum(dim=1) > 0
    best = probabilities[labeled].argsort(dim=1, descending=True, stable=True)[:, :k]
    hits: Floats = targets[labeled].gather(1, best).amax(dim=1).double().numpy()
    return hits


def several_metrics(probabilities: Tensor, targets: Tensor, chosen: float | None = None) -> dict[str, float]:
    """The metrics of a task of several labels.

    Args:
        probabilities: One row per video, (N, K).
        targets: 1 for each true class of a video and else 0, (N, K).
        chosen: The threshold that the validation videos chose; by default the best one of these videos.

    Returns:
        ``map``; ``f1`` and ``macro_f1`` at a threshold of 0.5; ``f1_best`` at the chosen one; ``hit1`` and, of more
        than five classes, ``hit5``; all from 0 to 1.
    """
    once = np.ones((1, len(targets)))
    return {
        name: float(statistic(once)[0])
        for name, statistic in several_statistics(probabilities, targets, chosen).items()
    }


def several_intervals(probabilities: Tensor, targets: Tensor, chosen: float | None = None) -> dict[str, Interval]:
    """Intervals of what :func:`several_metrics` returns, by the same names."""
    statistics = several_statistics(probabilities, targets, chosen)
    return {name: bootstrap(statistic, len(targets)) for name, statistic in statistics.items()}


def several_statistics(probabilities: Tensor, targets: Tensor, chosen: float | None) -> Mapping[str, Statistic]:
    """What :func:`several_metrics` returns, as functions of how often each video was drawn."""
    threshold = best_threshold(probabilities, targets) if chosen is None else chosen
    statistics = {
        "map": mean_average_precision_of(probabilities, targets),
        "f1": f1_of(probabilities, targets, THRESHOLD),
        "macro_f1": macro_f1_at(probabilities, targets, THRESHOLD),
        "f1_best": f1_of(probabilities, targets, threshold),
    }
    if bool((targets.sum(dim=1) > 0).any()):
        for k in (1, 5) if probabilities.shape[1] > 5 else (1,):
            statistics[f"hit{k}"] = hit_share_of(probabilities, targets, k)
    return statistics


def hit_share_of(probabilities: Tensor, targets: Tensor, k: int = 1) -> Statistic:
    """The share of the videos with a class of which a true class is among the k most probable."""
    hits, labeled = hits_among(probabilities, targets, k), (targets.sum(dim=1) > 0).numpy()

    def statistic(counts: Floats) -> Floats:
        drawn = counts[:, labeled]
        value: Floats = (drawn @ hits) / np.maximum(drawn.sum(axis=1), 1)
        return value

    return statistic
