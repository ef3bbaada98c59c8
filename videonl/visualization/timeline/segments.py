"""From windows to segments: the one rule, which the page has in JavaScript too (``segments.js``)."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple


class Segment(NamedTuple):
    """A stretch of a video in which one class is the most probable.

    Attributes:
        start: In seconds.
        end: In seconds.
        label: The class.
        probability: The mean of its probability over the segment's windows.
    """

    start: float
    end: float
    label: str
    probability: float


def cell_bounds(times: Sequence[float], duration_seconds: float) -> list[float]:
    """Where the cells of windows begin and end: midway between neighbors, and at the ends of the video.

    >>> cell_bounds([1.0, 2.0, 4.0], duration_seconds=6.0)
    [0.0, 1.5, 3.0, 6.0]

    Args:
        times: The middle of each window, at least one.
        duration_seconds: Of the video.

    Returns:
        One more bound than there are windows.
    """
    middles = [(before + after) / 2 for before, after in itertools.pairwise(times)]
    return [0.0, *middles, duration_seconds]


def join_cells(
    bounds: Sequence[float], classes: Sequence[int], probabilities: Sequence[float], threshold: float
) -> list[tuple[int, int, int, float]]:
    """Joins neighboring cells of one class at or above a threshold.

    >>> join_cells([0.0, 1.0, 2.0, 3.0], [7, 7, 5], [0.5, 0.75, 0.25], threshold=0.5)
    [(0, 2, 7, 0.625)]

    Args:
        bounds: Of the cells.
        classes: Of each cell the most probable class.
        probabilities: Of each cell that class's probability.
        threshold: From 0 to 1.

    Returns:
        Of each segment the first cell, the cell behind the last, the class, and its mean probability.
    """
    found: list[tuple[int, int, int, float]] = []
    first, total = 0, 0.0
    for cell in range(len(bounds) - 1):
        if cell > first and classes[cell] != classes[cell - 1]:
            first, total = cell, 0.0
        if probabilities[cell] < threshold:
            first, total = cell + 1, 0.0
            continue
        total += probabilities[cell]  # one by one: the page must get the same sum to the bit
        if found and found[-1][0] == first:
            found.pop()
        found.append((first, cell + 1, classes[cell], total / (cell + 1 - first)))
    return found
