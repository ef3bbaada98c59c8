"""Optimiser and learning-rate schedule, from plain data."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from videonl.errors import UserError

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "step", "constant")
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Optimisation:
    """How the weights are learnt.

    Attributes:
        optimizer: ``sgd`` (Nesterov) or ``adamw``.
        lr: Peak learning rate.
        weight_decay: Decay of weights; never of norms and biases.
        momentum: Momentum of SGD.
        schedule: ``cosine`` falls to zero, ``step`` multiplies at the milestones, ``constant`` stays.
        warmup_fraction: Share of all steps over which the rate rises linearly from almost zero.
        milestone_fractions: Where ``step`` falls, as shares of all steps; the paper's 150k and 300k of 400k.
        step_factor: What ``step`` multiplies the rate with at each milestone.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: Literal["cosine", "step", "constant"] = "step"
    warmup_fraction: float = 0.0
    milestone_fractions: tuple[float, ...] = (0.375, 0.75)
    step_factor: float = 0.1

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be positive, got {self.lr}")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"weight_decay must not be negative, got {self.weight_decay}")
        for fraction in (self.warmup_fraction, *self.milestone_fractions):
            if not 0 <= fraction <= 1:
                raise UserError(f"warmup_fraction and milestone_fractions are shares from 0 to 1, got {fraction}")


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Splits the trainable parameters into those that decay and those, of norms and all biases, that do not."""
    trainable = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    norms = {id(parameter) for part in module.modules() if isinstance(part, NORMS) for parameter in part.parameters()}
    spared = {name for name, parameter in trainable.items() if id(parameter) in norms or name.endswith("bias")}
    decayed = [parameter for name, parameter in trainable.items() if name not in spared]
    kept = [parameter for name, parameter in trainable.items() if name in spared]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def build_optimizer(module: nn.Module, settings: Optimisation) -> Optimizer:
    """Builds SGD with Nesterov momentum or AdamW over a module's parameters."""
    groups = parameter_groups(module, settings.weight_decay)
    if settings.optimizer == "adamw":
        return AdamW(groups, lr=settings.lr)
    # Nesterov's rule is not defined without momentum.
    return SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)


def lr_factor(settings: Optimisation, num_steps: int) -> Callable[[int], float]:
    """The schedule as a factor on the peak rate for each step.

    Args:
        settings: Kind of schedule, warm-up and milestones.
        num_steps: Optimiser steps of the whole training.

    Returns:
        A function of the 0-based step.

    Example:
        >>> factor = lr_factor(Optimisation(schedule="cosine", warmup_fraction=0.2), num_steps=10)
        >>> [round(factor(step), 3) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
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
