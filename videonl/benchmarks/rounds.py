"""Times of two sides that take turns: how far their ratio can be trusted, and how many rounds that takes."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LEAST_ROUNDS, SURE_ROUNDS, MOST_ROUNDS = 3, 7, 61
ENOUGH = 0.03  # a spread that needs no further round
MOST_SPREAD = 0.1  # beyond it a ratio is not shown: another run might say something else


@dataclass(frozen=True)
class Rounds:
    """The times of both sides, round by round, in any unit; a side that does not fit into memory has none."""

    ours: tuple[float, ...]
    plain: tuple[float, ...]

    def __len__(self) -> int:
        return max(len(self.ours), len(self.plain))

    @property
    def spread(self) -> float | None:
        """How far the ratio may be off, as a share of it: two standard errors of the median over the rounds.

        Both sides of a round meet the same machine, so what slows both down leaves the ratio as it is. The standard
        error is that of a normal distribution with the quartiles found. None for fewer than three rounds, or one side.

        >>> Rounds((1.0, 2.0, 4.0), (3.0, 6.0, 12.0)).spread
        0.0
        """
        ratios = [plain / ours for ours, plain in zip(self.ours, self.plain, strict=False)]
        if len(ratios) < LEAST_ROUNDS:
            return None
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        deviation = (high - low) / (2 * statistics.NormalDist().inv_cdf(0.75))
        return 2 * math.sqrt(math.pi / 2) * deviation / (middle * math.sqrt(len(ratios)))

    @property
    def unstable(self) -> bool:
        """Whether the ratio says nothing."""
        return bool(self.ours and self.plain) and (self.spread is None or self.spread > MOST_SPREAD)

    @property
    def minimum(self) -> dict[str, float]:
        """The shortest time of each side that has times."""
        return {side: min(times) for side, times in self._sides.items()}

    @property
    def median(self) -> dict[str, float]:
        """The middle time of each side that has times."""
        return {side: statistics.median(times) for side, times in self._sides.items()}

    @property
    def _sides(self) -> dict[str, tuple[float, ...]]:
        return {side: times for side, times in (("ours", self.ours), ("plain", self.plain)) if times}


def alternate(calls: Mapping[str, Callable[[], float | None]], seconds: float) -> Rounds:
    """Calls both sides in turn, after a first call of each, which warms up.

    Args:
        calls: ``ours`` and ``plain``; each gives the milliseconds that it took, or None when memory runs out, and is
            then called no more.
        seconds: Time for all rounds; three are always made, and no more than the spread asks for.
    """
    calls = {side: call for side, call in calls.items() if call() is not None}
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    while calls:
        for side, call in list(calls.items()):
            milliseconds = call()
            if milliseconds is None:
                del calls[side], times[side][:]
            else:
                times[side].append(milliseconds)
        rounds = Rounds(tuple(times["ours"]), tuple(times["plain"]))
        spent_ms = sum(rounds.ours) + sum(rounds.plain)
        if len(rounds) >= LEAST_ROUNDS and (spent_ms >= 1e3 * seconds or len(rounds) == MOST_ROUNDS):
            break
        if len(rounds) >= SURE_ROUNDS and (rounds.spread or 0) <= ENOUGH:
            break
    return Rounds(tuple(times["ours"]), tuple(times["plain"]))


def as_plain(rounds: Mapping[str, Rounds]) -> dict[str, dict[str, object]]:
    """What JSON lines say of the rounds, by what was timed."""
    return {
        "spread": {name: each.spread for name, each in rounds.items()},
        "rounds": {name: len(each) for name, each in rounds.items()},
        "unstable": {name: each.unstable for name, each in rounds.items()},
        "minimum_ms": {name: each.minimum for name, each in rounds.items()},
    }
