"""The whole comparison, row after row."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from videonl.benchmarks.apart import run_apart
from videonl.benchmarks.cases import Case, Implementation, grid_of
from videonl.benchmarks.measure import Measurement, Setting, difference, flops, measure_case
from videonl.benchmarks.rounds import Rounds

TOLERANCE = 1e-4
CHECKED_POSITIONS = 784  # the plain forms of larger grids take minutes and gigabytes to say the same


@dataclass(frozen=True)
class Row:
    """One case at one size; a measurement is None where it does not fit into memory."""

    case: Case
    positions: int
    setting: Setting
    ours: Measurement | None
    plain: Measurement | None
    parameters: int
    flops_ours: int
    flops_plain: int
    rounds: Mapping[str, Rounds] = field(default_factory=dict)  # of forward and step

    def ratio(self, quantity: str) -> float | None:
        """Plain by ours, larger is better, of a field of :class:`Measurement`.

        None where one side is missing, or the times vary too much for a ratio.
        """
        if self.is_unstable(quantity) or self.ours is None or self.plain is None or not getattr(self.ours, quantity):
            return None
        return float(getattr(self.plain, quantity) / getattr(self.ours, quantity))

    def is_unstable(self, quantity: str) -> bool:
        """Whether the times of a field of :class:`Measurement` vary too much for a ratio."""
        name = quantity.removesuffix("_ms")
        return name in self.rounds and self.rounds[name].unstable


def check(cases: Sequence[Case], smallest: Setting, done: Callable[[Case], None] = lambda case: None) -> None:
    """Refuses to compare implementations of different mathematics.

    Args:
        cases: Those whose two implementations should agree are run side by side, in float32.
        smallest: Where to run them, on 784 positions at most.
        done: Called after each case.

    Raises:
        RuntimeError: When two differ by more than 1e-4 of the largest change: a bug of ours.
    """
    checked = grid_of(min(math.prod(smallest.grid), CHECKED_POSITIONS))
    for case in cases:
        if case.same_mathematics:
            apart = run_apart(difference, case, replace(smallest, dtype="float32", grid=checked))
            if not apart < TOLERANCE:
                raise RuntimeError(f"{case.name} and its plain form differ by {apart:.1e}; {TOLERANCE:.0e} is allowed")
        done(case)


def compare(cases: Sequence[Case], positions: Sequence[int], settings: Sequence[Setting]) -> Iterator[Row]:
    """Measures cases at every size, device and dtype, the smallest sizes first.

    Args:
        cases: What to compare.
        positions: Numbers of positions.
        settings: Devices and dtypes; the grids are replaced.

    Yields:
        A row as soon as it is measured.
    """
    for setting in settings:
        for size in sorted(positions):
            at = replace(setting, grid=grid_of(size))
            for case in cases:
                found, rounds = measure_case(case, at)
                counted = flops(case.ours, at), flops(case.plain, at)
                parameters = num_parameters(case.ours, at.channels)
                yield Row(case, size, at, found.get("ours"), found.get("plain"), parameters, *counted, rounds)


def num_parameters(implementation: Implementation, channels: int) -> int:
    """How many numbers a block learns."""
    with torch.device("cpu"):
        return sum(parameter.numel() for parameter in implementation.build(channels).parameters())
