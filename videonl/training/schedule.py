"""The learning rate schedule."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch.optim.lr_scheduler import LambdaLR

from videonl.data.multigrid_schedule import MultigridSchedule
from videonl.errors import UserError, require_within

SCHEDULES = ("cosine", "step", "constant")


@dataclass(frozen=True)
class Schedule:
    """The learning rate schedule; warm-up and milestones are fractions of the total number of optimizer steps.

    Attributes:
        schedule: ``cosine`` falls to zero, ``step`` multiplies at the milestones, ``constant`` stays.
        warmup_fraction: Fraction of all steps over which the rate rises linearly from almost zero.
        milestone_fractions: Milestones of ``step``, as fractions of all steps; the paper's 150k and 300k of 400k.
        step_factor: Factor by which ``step`` multiplies the rate at each milestone.
    """

    schedule: Literal["cosine", "step", "constant"] = "step"
    warmup_fraction: float = 0.0
    milestone_fractions: tuple[float, ...] = (0.375, 0.75)
    step_factor: float = 0.1

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UserError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        for fraction in (self.warmup_fraction, *self.milestone_fractions):
            if not 0 <= fraction <= 1:
                raise UserError(f"warmup_fraction and milestone_fractions must be in [0, 1], got {fraction}")
        require_within(0, 1, step_factor=self.step_factor)


def lr_factor(settings: Schedule, num_steps: float) -> Callable[[int], float]:
    """The schedule as a factor on the peak rate for each step.

    Args:
        settings: Kind of schedule, warm-up and milestones.
        num_steps: Optimizer steps of the whole training; infinity if only a time limit ends it.

    Returns:
        A function of the 0-based step.

    Raises:
        UserError: The schedule has a warm-up or milestones, but the number of steps is unknown.

    Examples:
        >>> factor = lr_factor(Schedule(schedule="cosine", warmup_fraction=0.2), num_steps=10)
        >>> [round(factor(step), 3) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if math.isinf(num_steps):
        if settings.schedule != "constant" or settings.warmup_fraction:
            raise UserError(
                "the schedule needs a known number of steps: set --trainer.max_epochs or --trainer.max_steps, or "
                "schedule: constant and warmup_fraction: 0"
            )
        return lambda step: 1.0
    num_warmup = round(settings.warmup_fraction * num_steps)

    def factor(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / num_warmup
        if settings.schedule == "cosine":
            progress = (step - num_warmup) / max(num_steps - num_warmup, 1)
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        if settings.schedule == "step":
            num_passed = sum(step >= fraction * num_steps for fraction in settings.milestone_fractions)
            return settings.step_factor**num_passed
        return 1.0

    return factor


def multigrid_factor(
    factor: Callable[[int], float], grids: MultigridSchedule, num_batches: int
) -> Callable[[int], float]:
    """A schedule's factor times that of a multigrid training, whose steps with large batches have a higher rate.

    Args:
        factor: The schedule, of the 0-based optimizer step.
        grids: The shapes of batches.
        num_batches: Accumulated batches of an optimizer step; the last one of an epoch may have fewer.
    """
    steps_per_epoch = -(-grids.steps_per_epoch // num_batches)

    def both(step: int) -> float:
        epoch, place = divmod(step, steps_per_epoch)
        return factor(step) * grids.rate(grids.step(epoch, place * num_batches))

    return both


class ScheduledRates(LambdaLR):
    """Factors on the rates of the configuration, also if a training is resumed with other rates."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues at the same step with the current peak rates, such as for another number of processes."""
        peaks = self.base_lrs
        super().load_state_dict({**state_dict, "base_lrs": peaks})
        self._last_lr = [peak * factor(self.last_epoch) for peak, factor in zip(peaks, self.lr_lambdas, strict=True)]
        for group, peak, rate in zip(self.optimizer.param_groups, peaks, self._last_lr, strict=True):
            group["initial_lr"], group["lr"] = peak, rate
