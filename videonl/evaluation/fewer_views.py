"""Accuracy, or mAP, as a function of the number of views, from one evaluation with many."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from videonl.evaluation.intervals import NUM_RESAMPLES, Interval, bootstrap, hits_of, share_of
from videonl.evaluation.several import mean_average_precision_of
from videonl.evaluation.views import SEVERAL_LABELS, VideoScore, average_views, labels_of

_FEW_RESAMPLES = 200  # of mAP, which takes long: there is one for every number of views


class FewerViews(NamedTuple):
    """Top-1, or of several labels mAP, with some of the views.

    Attributes:
        num_clips: Clips used.
        num_crops: Crops of each.
        value: From 0 to 1.
        interval: Its 95% bootstrap interval.
    """

    num_clips: int
    num_crops: int
    value: float
    interval: Interval


def evenly_chosen(number: int, choices: int) -> list[int]:
    """Indices of ``number`` of ``choices`` items, evenly spaced from first to last, or the middle one.

    >>> evenly_chosen(3, 10), evenly_chosen(1, 3)
    ([0, 4, 9], [1])
    """
    if number == 1:
        return [(choices - 1) // 2]
    return [step * (choices - 1) // (number - 1) for step in range(number)]


def accuracy_by_views(scores: Sequence[VideoScore]) -> list[FewerViews]:
    """Top-1, or mAP, for every number of clips, with the middle crop alone and with all crops.

    Args:
        scores: Videos with known classes, all with the same views.

    Returns:
        By crops, then by clips; the last one uses every view.
    """
    views = scores[0].views
    if any(score.views != views for score in scores):
        raise ValueError("the videos have different views, so accuracy by number of views is not defined")
    num_clips, num_crops = (max(numbers) + 1 for numbers in zip(*views, strict=True))
    return [_with_views(scores, clips, crops) for crops in sorted({1, num_crops}) for clips in range(1, num_clips + 1)]


def _with_views(scores: Sequence[VideoScore], num_clips: int, num_crops: int) -> FewerViews:
    all_clips, all_crops = (max(numbers) + 1 for numbers in zip(*scores[0].views, strict=True))
    clips, crops = evenly_chosen(num_clips, all_clips), evenly_chosen(num_crops, all_crops)
    used = [place for place, (clip, crop) in enumerate(scores[0].views) if clip in clips and crop in crops]
    probabilities = torch.stack([average_views(score.logits[used], score.average) for score in scores])
    labels = labels_of(scores)
    if scores[0].average in SEVERAL_LABELS:
        statistic = mean_average_precision_of(probabilities, labels)
    else:
        statistic = share_of(hits_of(probabilities, labels))
    value = float(statistic(np.ones((1, len(scores))))[0])
    num_resamples = _FEW_RESAMPLES if scores[0].average in SEVERAL_LABELS else NUM_RESAMPLES
    return FewerViews(num_clips, num_crops, value, bootstrap(statistic, len(scores), num_resamples))
