"""How the rate moves."""

import math

import pytest
import torch
from torch.optim import SGD

from videonl.errors import UserError
from videonl.training.schedule import Schedule, ScheduledRates, lr_factor


def factors(num_steps: int, **settings: object) -> list[float]:
    factor = lr_factor(Schedule(**settings), num_steps)
    return [factor(step) for step in range(num_steps + 1)]


def test_constant_stays() -> None:
    assert factors(7, schedule="constant") == [1.0] * 8


def test_cosine_falls_to_zero() -> None:
    expected = [0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(7)]
    assert factors(6, schedule="cosine") == pytest.approx(expected)
    assert expected[3] == pytest.approx(0.5)
    assert lr_factor(Schedule(schedule="cosine"), 6)(11) == pytest.approx(0)


def test_step_falls_at_its_milestones() -> None:
    # The paper's 150k and 300k of 400k iterations, with 8 steps in all.
    assert factors(8, schedule="step") == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    half = factors(5, schedule="step", milestone_fractions=(0.5,), step_factor=0.5)
    assert half == [1, 1, 1, 0.5, 0.5, 0.5]


def test_step_without_milestones_stays() -> None:
    assert factors(5, schedule="step", milestone_fractions=()) == [1.0] * 6


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_warmup_rises_linearly_to_the_peak(schedule: str) -> None:
    rate = factors(20, schedule=schedule, warmup_fraction=0.25)
    assert rate[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_cosine_after_warmup_spans_the_remaining_steps() -> None:
    rate = factors(10, schedule="cosine", warmup_fraction=0.2)
    assert rate[2:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(9)])


def test_milestones_count_from_the_start_of_training() -> None:
    rate = factors(10, schedule="step", warmup_fraction=0.2, milestone_fractions=(0.5,))
    assert rate == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 1000])
def test_rate_stays_between_zero_and_the_peak(schedule: str, warmup_fraction: float, num_steps: int) -> None:
    rate = factors(num_steps, schedule=schedule, warmup_fraction=warmup_fraction)
    assert all(0 <= value <= 1 for value in rate)
    assert rate[0] > 0


def test_a_training_of_unknown_length_has_a_constant_rate() -> None:
    assert lr_factor(Schedule(schedule="constant"), math.inf)(10**9) == 1
    for places in ({"schedule": "cosine"}, {"schedule": "constant", "warmup_fraction": 0.1}):
        with pytest.raises(UserError, match=r"a known number of steps: set --trainer\.max_epochs"):
            lr_factor(Schedule(**places), math.inf)


def rates_of(lr: float, schedule: str, num_steps: int) -> tuple[SGD, ScheduledRates]:
    optimizer = SGD([{"params": [torch.zeros(1)], "lr": lr}, {"params": [torch.zeros(1)], "lr": lr / 7}])
    return optimizer, ScheduledRates(optimizer, lr_factor(Schedule(schedule=schedule), num_steps))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize(("lr", "num_steps"), [(0.3, 11), (0.15, 11), (0.3, 23)])
def test_resumed_rates_are_those_of_the_configuration_from_the_first_step_on(
    schedule: str, lr: float, num_steps: int
) -> None:
    optimizer, before = rates_of(0.3, schedule, 11)
    for _ in range(5):
        optimizer.step()
        before.step()
    resumed_optimizer, resumed = rates_of(lr, schedule, num_steps)
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(before.state_dict())
    whole_optimizer, whole = rates_of(lr, schedule, num_steps)
    for step in range(10):
        if step >= 5:
            assert [group["lr"] for group in resumed_optimizer.param_groups] == [
                group["lr"] for group in whole_optimizer.param_groups
            ]
            resumed_optimizer.step()
            resumed.step()
        whole_optimizer.step()
        whole.step()
