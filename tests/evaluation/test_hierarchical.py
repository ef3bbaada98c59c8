"""The interval of a mean over seeds, against loops written out, and by how often it covers the truth."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from videonl.evaluation.hierarchical import hierarchical_bootstrap
from videonl.evaluation.intervals import NUM_RESAMPLES, bootstrap, resamples, share_of

Floats = NDArray[np.float64]
T_OF_2_DEGREES = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))  # the 97.5 % point, in closed form: 4.30


def interval(values: Floats, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Of one value for each seed and video, (S, N)."""
    return hierarchical_bootstrap([share_of(row) for row in values], values.shape[1], num_resamples, seed)


@pytest.mark.parametrize("apart", [0.3, 3])
def test_against_loops(apart: float) -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=(3, 13)) + apart * np.array([[-1.0], [0.2], [0.9]])
    num_resamples, seed = 107, 5
    counts = np.concatenate(list(resamples(13, num_resamples, seed)))
    shares = np.random.default_rng([seed, 3]).multinomial(3, [1 / 3] * 3, size=num_resamples)
    # How far the seeds are apart, and how far apart few videos alone put them.
    drawn = [
        [sum(int(c) * value for c, value in zip(row, of_seed, strict=True)) / 13 for of_seed in values]
        for row in counts
    ]
    centered = [[value - sum(row) / 3 for value in row] for row in drawn]
    columns = list(zip(*centered, strict=True))
    means = [sum(column) / num_resamples for column in columns]
    of_videos = sum(
        sum((value - mean) ** 2 for value in column) / num_resamples
        for column, mean in zip(columns, means, strict=True)
    )
    own = [sum(row) / 13 for row in values]
    spread = sum((value - sum(own) / 3) ** 2 for value in own) / 2
    share = max(0, 1 - of_videos / 2 / spread)  # mean over 3 seeds, times 3 / 2
    student = math.sqrt(share) * T_OF_2_DEGREES / NormalDist().inv_cdf(0.975)
    assert (student > 1) == (apart > 1)
    factor = math.sqrt(3 / 2) * max(1, student)
    expected = [
        sum(row) / 3 + factor * sum(int(k) * (value - sum(own) / 3) for k, value in zip(picked, own, strict=True)) / 3
        for row, picked in zip(drawn, shares, strict=True)
    ]
    # scipy 1.15, the last one for Python 3.10, has eleven digits of Student's point.
    assert interval(values, num_resamples, seed) == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=1e-9)


def test_one_seed_is_the_bootstrap_over_videos() -> None:
    values = np.random.default_rng(1).normal(size=(1, 17))
    assert interval(values) == pytest.approx(bootstrap(share_of(values[0]), 17), abs=1e-12)


def test_equal_seeds_add_nothing() -> None:
    row = np.random.default_rng(1).normal(size=17)
    assert interval(np.stack([row] * 3)) == pytest.approx(bootstrap(share_of(row), 17), abs=1e-12)


def test_no_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        hierarchical_bootstrap([], 7)


@pytest.mark.parametrize(("num_videos", "of_seeds"), [(23, 0.0), (101, 0.03), (307, 0.1)])
def test_it_covers_the_true_difference_of_three_seeds(num_videos: int, of_seeds: float) -> None:
    """Hits of two variants: videos differ, seeds differ, and each answer is drawn. 95 % is what is promised."""
    generator = np.random.default_rng(7)
    covered, covered_by_videos, num_trials, true = 0, 0, 200, 0.05
    for _ in range(num_trials):
        chance = generator.uniform(0.2, 0.7, num_videos)
        gains = true + of_seeds * generator.normal(size=(3, 1))
        shape = (3, num_videos)
        hits = (generator.random(shape) < chance + gains).astype(float) - (generator.random(shape) < chance)
        low, high = interval(hits, num_resamples=400)
        covered += low <= true <= high
        low, high = bootstrap(share_of(hits.mean(axis=0)), num_videos, num_resamples=400)
        covered_by_videos += low <= true <= high
    assert 0.92 <= covered / num_trials <= 0.99
    if of_seeds > 0.05:  # an interval over videos alone misses what another seed would give
        assert covered_by_videos / num_trials < 0.75
