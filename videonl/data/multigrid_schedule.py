"""Which shape the batch of each step of a multigrid training has."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from videonl.data.multigrid import BatchShape, Multigrid, Phase
from videonl.data.transforms import ClipFormat


@dataclass(frozen=True)
class MultigridSchedule:
    """The shape of the batch of every step.

    Args:
        settings: How shapes follow one another.
        clip: The format of full-size clips.
        num_steps: Number of batches of the whole training, in each process.
        steps_per_epoch: Number of those of an epoch.

    >>> schedule = MultigridSchedule(Multigrid(cycle_ends=(0.8,), short_cycle=()), ClipFormat(), 50, 10)
    >>> [(schedule.shape(step).factor, schedule.shape(step).grid[:2]) for step in (0, 10, 20, 30, 40)]
    [(8, (2, 158)), (4, (4, 158)), (2, (4, 224)), (1, (8, 224)), (1, (8, 224))]
    """

    settings: Multigrid
    clip: ClipFormat
    num_steps: int
    steps_per_epoch: int

    @cached_property
    def phases(self) -> list[Phase]:
        """All phases, as fractions of the training."""
        return self.settings.phases(self.clip)

    @cached_property
    def starts(self) -> list[int]:
        """The step at which each phase begins; one of no steps begins with the next."""
        return [round(phase.start * self.num_steps) for phase in self.phases]

    def step(self, epoch: int, batch: int) -> int:
        """The number of a step over all epochs, from 0, of that of an epoch and of its batch."""
        return epoch * self.steps_per_epoch + batch

    def phase(self, step: int) -> Phase:
        """The phase of a step, counted from 0 over all epochs."""
        return self.phases[bisect_right(self.starts, step) - 1]

    def shape(self, step: int) -> BatchShape:
        """The shape of the batch of a step, counted from 0 over all epochs."""
        shapes = self.phase(step).shapes
        return shapes[step % len(shapes)]

    def rate(self, step: int) -> float:
        """The factor on the learning rate in a step."""
        return float(self.phase(step).factor ** self.settings.rate_power)

    def factors_before(self, step: int) -> int:
        """How many times the clips of a full-size batch all steps before this one have."""
        return sum(
            shape.factor * len(range(first + (turn - first) % len(phase.shapes), min(end, step), len(phase.shapes)))
            for phase, first, end in self._spans()
            for turn, shape in enumerate(phase.shapes)
        )

    def _spans(self) -> Iterator[tuple[Phase, int, int]]:
        return zip(self.phases, self.starts, [*self.starts[1:], 2**62], strict=True)

    def __str__(self) -> str:
        """All on which it depends."""
        return f"{self.settings} in {self.num_steps} steps"
