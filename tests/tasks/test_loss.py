"""Losses for uneven classes against their formulas, written out."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from videonl.errors import UserError
from videonl.tasks import MultiLabel, SingleLabel
from videonl.tasks.loss import Loss

NAMES = ["walk", "run", "fall"]
COUNTS = [61, 23, 5]
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(7, 3, generator=GENERATOR, dtype=torch.float64)
HARD = torch.tensor([0, 1, 2, 0, 0, 1, 2])
SOFT = torch.rand(7, 3, generator=GENERATOR, dtype=torch.float64).softmax(dim=1)
MANY = (torch.rand(7, 3, generator=GENERATOR, dtype=torch.float64) < 0.4).double()


def single(loss: Loss) -> SingleLabel:
    return SingleLabel(None, loss, loss.weights(COUNTS, NAMES), loss.adjustment(COUNTS))


def several(loss: Loss) -> MultiLabel:
    return MultiLabel(None, loss, loss.weights(COUNTS, NAMES), None)


def naive_softmax(target: Tensor, weights: list[float], gamma: float, smoothing: float, shift: list[float]) -> float:
    total, divisor = 0.0, 0.0
    for row, own in zip(LOGITS.tolist(), target.tolist(), strict=True):
        exps = [math.exp(logit + more) for logit, more in zip(row, shift, strict=True)]
        shares = own if isinstance(own, list) else [float(k == own) for k in range(3)]
        for k in range(3):
            p, smooth = exps[k] / sum(exps), shares[k] * (1 - smoothing) + smoothing / 3
            total -= weights[k] * smooth * (1 - p) ** gamma * math.log(p)
        divisor += 1 if isinstance(own, list) else weights[own]
    return total / divisor


INVERSE = [each / (sum(1 / n for n in COUNTS) / 3) for each in (1 / n for n in COUNTS)]
NUMBERS = [(1 - 0.99**n) / (1 - 0.99) for n in COUNTS]
EFFECTIVE = [each / (sum(1 / n for n in NUMBERS) / 3) for each in (1 / n for n in NUMBERS)]


@pytest.mark.parametrize(
    ("loss", "weights", "gamma", "shift"),
    [
        (Loss(), [1, 1, 1], 0, [0, 0, 0]),
        (Loss(class_weights="inverse"), INVERSE, 0, [0, 0, 0]),
        (Loss(class_weights="effective", effective_beta=0.99), EFFECTIVE, 0, [0, 0, 0]),
        (Loss(class_weights={"fall": 7}), [1, 1, 7], 0, [0, 0, 0]),
        (Loss(kind="focal", focal_gamma=1.7, class_weights="inverse"), INVERSE, 1.7, [0, 0, 0]),
        (Loss(logit_adjustment=0.8), [1, 1, 1], 0, [0.8 * math.log(n / 89) for n in COUNTS]),
    ],
)
@pytest.mark.parametrize("target", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_of_one_label(
    loss: Loss, weights: list[float], gamma: float, shift: list[float], target: Tensor, smoothing: float
) -> None:
    task = single(loss)
    expected = naive_softmax(target, weights, gamma, smoothing, shift)
    assert float(task.loss(LOGITS, target, smoothing)) == pytest.approx(expected, abs=1e-10)
    assert torch.autograd.gradcheck(lambda x: task.loss(x, target, smoothing), LOGITS.clone().requires_grad_())


def test_the_default_is_cross_entropy_to_the_bit() -> None:
    logits = LOGITS.float()
    assert torch.equal(SingleLabel().loss(logits, HARD, 0.1), F.cross_entropy(logits, HARD, label_smoothing=0.1))
    assert torch.equal(MultiLabel().loss(logits, MANY), F.binary_cross_entropy_with_logits(logits, MANY.float()))
    no_gamma = single(Loss(kind="focal", focal_gamma=0)).loss(LOGITS, HARD, 0.1)
    torch.testing.assert_close(no_gamma, F.cross_entropy(LOGITS, HARD, label_smoothing=0.1), rtol=0, atol=1e-12)


def test_focal_loss_of_several_labels_is_the_paper_s() -> None:
    total = 0.0
    for row, targets in zip(LOGITS.tolist(), MANY.tolist(), strict=True):
        for logit, target, weight in zip(row, targets, INVERSE, strict=True):
            p = 1 / (1 + math.exp(-logit))
            total -= weight * (target * (1 - p) ** 2 * math.log(p) + (1 - target) * p**2 * math.log(1 - p))
    task = several(Loss(kind="focal", class_weights="inverse"))
    assert float(task.loss(LOGITS, MANY)) == pytest.approx(total / LOGITS.numel(), abs=1e-10)
    assert torch.autograd.gradcheck(lambda x: task.loss(x, MANY), LOGITS.clone().requires_grad_())


def test_without_counts_nothing_depends_on_them() -> None:
    loss = Loss(class_weights="inverse", logit_adjustment=1)
    assert loss.needs_counts and not Loss(class_weights={"run": 2.0}).needs_counts
    assert loss.weights(None, NAMES) is None and loss.adjustment(None) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "hinge"}, "kind must be one of cross_entropy, focal, got 'hinge'"),
        ({"class_weights": "even"}, "class_weights must be one of none, inverse, effective, or weights by class"),
        ({"effective_beta": 1.0}, r"effective_beta must be in \[0, 1\), got 1.0"),
        ({"focal_gamma": -1.0}, "focal_gamma"),
        ({"logit_adjustment": float("nan")}, "logit_adjustment"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Loss(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_weights_of_classes_that_are_not_there() -> None:
    with pytest.raises(UserError, match=r"'jump' is not one of the classes \(walk, run, fall\)"):
        Loss(class_weights={"jump": 2.0}).weights(COUNTS, NAMES)
    with pytest.raises(UserError, match="must be above 0"):
        Loss(class_weights={"run": 0.0}).weights(COUNTS, NAMES)
