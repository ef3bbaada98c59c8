"""How often each training video is drawn in an epoch, where classes are uneven."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from videonl.data.video import Label
from videonl.errors import UserError

WAYS = ("none", "classes", "sqrt")


def draw_weights(labels: Sequence[Label], balance: Any, class_names: Sequence[str]) -> Tensor | None:
    """How often each video is drawn, in proportion; None where each is drawn once.

    Of several labels, a video counts as much as its classes do on average, and one without a class as the mean video.

    >>> draw_weights([0, 0, 0, 1], "classes", ["run", "walk"])
    tensor([0.3333, 0.3333, 0.3333, 1.0000], dtype=torch.float64)

    Args:
        labels: Of each training video.
        balance: ``none``; ``classes``, every class as often as any other; ``sqrt``, each in proportion to the square
            root of its number of videos; or how often each class is drawn, by its name, where others have 1.
        class_names: Names in the order of the labels.

    Raises:
        UserError: There is no such way, or no such class, or a weight is below 0 or none is above it.
    """
    if balance == "none":
        return None
    every = [label if isinstance(label, tuple) else (label,) for label in labels]
    counts = Counter(index for own in every for index in own)
    wanted = _class_weights(balance, counts, class_names)
    per_video = {index: wanted[index] / counts[index] for index in counts}
    means = [sum(per_video[index] for index in own) / len(own) if own else math.nan for own in every]
    weights = torch.tensor(means, dtype=torch.float64)
    weights = weights.nan_to_num(nan=float(weights.nanmean()))
    if not bool((weights > 0).any()):
        raise UserError(f"data.balance gives no video a weight above 0: {balance}")
    return weights


def _class_weights(balance: Any, counts: Mapping[int, int], class_names: Sequence[str]) -> dict[int, float]:
    """How often each class is to be drawn, in proportion."""
    if balance == "classes":
        return dict.fromkeys(counts, 1.0)
    if balance == "sqrt":
        return {index: math.sqrt(count) for index, count in counts.items()}
    if not isinstance(balance, Mapping):
        raise UserError(f"data.balance must be one of {', '.join(WAYS)}, or weights by class, got {balance!r}")
    given = {str(name): weight for name, weight in balance.items()}
    if unknown := sorted(set(given) - set(class_names)):
        raise UserError(f"data.balance: {unknown[0]!r} is not one of the classes ({', '.join(class_names)})")
    for name, weight in given.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight < math.inf:
            raise UserError(f"data.balance: the weight of {name} must be a number from 0 on, got {weight!r}")
    return {index: float(given.get(class_names[index], 1)) for index in counts}


def balanced_order(weights: Tensor, groups: Sequence[Label], generator: torch.Generator) -> list[int]:
    """As many draws as there are videos, each drawn its share of times, rounded up or down.

    Systematic sampling (Madow 1949) over the videos, sorted by class and shuffled within: each class, too, is drawn its
    share of times but for one. A video that is drawn again has its number plus the number of videos, and so on: the
    random choices of a clip depend on that number.

    Args:
        weights: How often each is drawn, in proportion, (N,).
        groups: The label of each video.
        generator: Where the randomness comes from.

    Returns:
        N numbers in random order; the video of a number is its remainder modulo N.
    """
    num_videos = len(weights)
    shuffled: list[int] = torch.randperm(num_videos, generator=generator).tolist()
    by_class = sorted(shuffled, key=lambda video: _key(groups[video]))  # stable: shuffled within a class
    shares = weights[by_class].cumsum(0)
    shares = shares * (num_videos / float(shares[-1]))
    points = torch.arange(num_videos, dtype=torch.float64) + torch.rand((), generator=generator, dtype=torch.float64)
    places = torch.searchsorted(shares, points, right=True).clamp_max(num_videos - 1).tolist()
    times: Counter[int] = Counter()
    draws = []
    for place in places:
        video = by_class[place]
        draws.append(video + num_videos * times[video])
        times[video] += 1
    order = torch.randperm(num_videos, generator=generator).tolist()
    return [draws[place] for place in order]


def _key(label: Label) -> tuple[int, ...]:
    return label if isinstance(label, tuple) else (label,)
