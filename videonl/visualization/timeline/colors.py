"""Which classes of a timeline have a color of their own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PALETTE = (
    *("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2"),
    *("#6cc5b0", "#ff8ab7", "#9c6b4e", "#97bbf5", "#b5bd2f"),
)
OTHER = "#9aa0a6"


def by_importance(probabilities: NDArray[np.float64], bounds: Sequence[float]) -> NDArray[np.int64]:
    """Classes in the order in which they get colors: those first that are the most probable one for longest.

    Args:
        probabilities: Of each window and class, (N, K).
        bounds: Where the cells of the windows begin and end, N + 1 times.

    Returns:
        All classes, (K,); those that never are the most probable one by their mean probability.
    """
    best = probabilities.argmax(axis=1)
    weights = probabilities.max(axis=1) * np.diff(np.array(bounds))
    leading = np.bincount(best, weights=weights, minlength=probabilities.shape[1])
    return np.lexsort((-probabilities.mean(axis=0), -leading))
