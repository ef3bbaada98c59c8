"""Bootstrap intervals that count two causes of variation: which videos are tested, and which seeds are trained."""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from videonl.evaluation.intervals import CONFIDENCE, NUM_RESAMPLES, Floats, Interval, Statistic, central, resamples

_EDGE = (1 + CONFIDENCE) / 2


def hierarchical_bootstrap(
    statistics: Sequence[Statistic], num_videos: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """95% interval of the mean over seeds of a statistic over videos, for other seeds and other videos.

    All seeds are tested on the same videos, so both are drawn with replacement and crossed, as in the pigeonhole
    bootstrap (Owen 2007, arXiv:0712.1111). Seeds are few, so what they deviate from their mean is multiplied by
    sqrt(S / (S - 1)), for the spread that drawing from so few takes away; and where they differ by more than so few
    videos alone would make them, that part of the spread is widened by Student's t, as in the expanded percentile
    interval (Hesterberg 2015, arXiv:1411.5279). Of one seed it is the interval over videos alone.

    Args:
        statistics: One for each seed: from counts (R, N), how often each video was drawn, to values (R,).
        num_videos: N.
        num_resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: There is no statistic.
    """
    if not statistics:
        raise ValueError("the interval of a mean over seeds needs at least one seed")
    # (R, S): every seed on the same drawn videos
    drawn = [[of(counts) for of in statistics] for counts in resamples(num_videos, num_resamples, seed)]
    values = np.concatenate([np.stack(each, axis=1) for each in drawn])
    means = values.mean(axis=1)
    num_seeds = len(statistics)
    if num_seeds == 1:
        return central(means)
    once = np.ones((1, num_videos))
    own = np.array([float(of(once)[0]) for of in statistics])
    deviations = (own - own.mean()) * _widening(own, values - means[:, None])
    shares = np.random.default_rng([seed, num_seeds]).multinomial(
        num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples
    )
    return central(means + shares @ deviations / num_seeds)


def _widening(own: Floats, resampled: Floats) -> float:
    """By what the deviations of the seeds are multiplied.

    Args:
        own: The statistic of each seed, (S,).
        resampled: Its deviation from the mean over seeds in every resample of the videos, (R, S).
    """
    num_seeds = len(own)
    bessel = num_seeds / (num_seeds - 1)  # drawing from so few takes that much away from the variance
    spread, of_videos = float(own.var(ddof=1)), bessel * float(resampled.var(axis=0).mean())
    share = max(0.0, 1 - of_videos / spread) if spread > 0 else 0.0
    student = float(stdtrit(num_seeds - 1, _EDGE) / ndtri(_EDGE))
    return float(np.sqrt(bessel)) * max(1.0, float(np.sqrt(share)) * student)
