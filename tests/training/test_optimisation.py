"""What decays, how the rate moves, and what is refused."""

import math

import pytest
import torch
from torch import nn

from videonl.backbones import BACKBONES
from videonl.blocks import NonLocal
from videonl.models import ClipClassifier, Insertion
from videonl.training import Optimisation
from videonl.training.optimisation import build_optimizer, lr_factor, parameter_groups

NORMS = (nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


@pytest.fixture
def network() -> ClipClassifier:
    with torch.device("meta"):
        return ClipClassifier("c2d_r50", 7, [Insertion("nonlocal", {"res3": [1], "res4": [3]})], width=4)


def test_norms_and_biases_do_not_decay_and_all_else_does(network: ClipClassifier) -> None:
    decayed, kept = parameter_groups(network, 0.3)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    expected_kept = {
        id(parameter)
        for module in network.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, NORMS) or name == "bias"
    }
    assert {id(parameter) for parameter in kept["params"]} == expected_kept
    assert {id(parameter) for parameter in decayed["params"]} == {
        id(parameter) for parameter in network.parameters() if id(parameter) not in expected_kept
    }


def test_biases_and_norm_of_a_block_do_not_decay() -> None:
    block = NonLocal(7)
    names = {id(parameter): name for name, parameter in block.named_parameters()}
    decayed, kept = ([names[id(p)] for p in group["params"]] for group in parameter_groups(block, 0.3))
    assert decayed == ["theta.weight", "phi.weight", "g.weight", "out.weight"]
    assert kept == ["theta.bias", "phi.bias", "g.bias", "out.bias", "norm.weight", "norm.bias"]


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_trainable_parameter_is_in_one_group_once(name: str) -> None:
    with torch.device("meta"):
        network = BACKBONES[name](7).network
    frozen = set(list(network.parameters())[::5])
    for parameter in frozen:
        parameter.requires_grad_(False)
    grouped = [parameter for group in parameter_groups(network, 0.3) for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(network.parameters()) - frozen


def test_sgd_is_nesterov_with_the_given_settings(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimisation(lr=0.03, weight_decay=0.002, momentum=0.7))
    assert type(optimizer) is torch.optim.SGD
    for group, decay in zip(optimizer.param_groups, [0.002, 0.0], strict=True):
        assert (group["lr"], group["momentum"], group["nesterov"]) == (0.03, 0.7, True)
        assert (group["weight_decay"], group["dampening"]) == (decay, 0)


def test_sgd_takes_no_momentum(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimisation(momentum=0.0))
    assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(0.0, False)}


def test_adamw_takes_the_rate_and_the_decay(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimisation(optimizer="adamw", lr=0.003, weight_decay=0.05))
    assert type(optimizer) is torch.optim.AdamW
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.003, 0.05), (0.003, 0.0)]


def test_one_nesterov_step_is_the_one_worked_out_by_hand() -> None:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(2.0)
        module.bias.fill_(3.0)
    optimizer = build_optimizer(module, Optimisation(lr=0.1, weight_decay=0.5, momentum=0.9))
    module(torch.tensor([[5.0]])).sum().backward()  # gradients 5 and 1
    optimizer.step()
    # First step: the velocity is the gradient, so Nesterov moves by 1.9 times it. The weight alone decays: 5 + 0.5 * 2.
    assert module.weight.item() == pytest.approx(2 - 0.1 * 1.9 * 6)
    assert module.bias.item() == pytest.approx(3 - 0.1 * 1.9 * 1)


def factors(num_steps: int, **settings: object) -> list[float]:
    factor = lr_factor(Optimisation(**settings), num_steps)
    return [factor(step) for step in range(num_steps + 1)]


def test_constant_stays() -> None:
    assert factors(7, schedule="constant") == [1.0] * 8


def test_cosine_falls_to_zero() -> None:
    expected = [0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(7)]
    assert factors(6, schedule="cosine") == pytest.approx(expected)
    assert expected[3] == pytest.approx(0.5)
    assert lr_factor(Optimisation(schedule="cosine"), 6)(11) == pytest.approx(0)


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


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": -0.1}, "got -0.1"),
        ({"weight_decay": -1e-4}, "weight_decay must not be negative, got -0.0001"),
        ({"warmup_fraction": 1.5}, "got 1.5"),
        ({"warmup_fraction": -0.1}, "got -0.1"),
        ({"milestone_fractions": (0.5, 150_000)}, "got 150000"),
        ({"lr": math.nan}, "nan"),
        ({"optimizer": "rmsprop"}, "rmsprop"),
        ({"schedule": "cosin"}, "cosin"),
    ],
    ids=str,
)
def test_bad_values_are_refused_and_quoted(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Optimisation(**settings)
