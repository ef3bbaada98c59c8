"""Several labels: the numbers of naive formulas."""

import math

import pytest
import torch

from videonl.data.mixing import Mixing
from videonl.errors import UserError
from videonl.evaluation import VideoScore, average_of
from videonl.evaluation.several import best_threshold
from videonl.tasks import TASKS, MultiLabel

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize("weights", [None, 2.0, [1.0, 3.0, 5.0]])
def test_loss_is_the_mean_binary_cross_entropy_of_smoothed_targets(weights: list[float] | float | None) -> None:
    of_class = weights if isinstance(weights, list) else [weights or 1.0] * 3
    terms = []
    for logits, targets in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True):
        for logit, target, weight in zip(logits, targets, of_class, strict=True):
            probability, smooth = 1 / (1 + math.exp(-logit)), target * 0.7 + 0.15
            terms.append(-weight * smooth * math.log(probability) - (1 - smooth) * math.log(1 - probability))
    assert MultiLabel(weights).loss(LOGITS, TARGETS, 0.3).item() == pytest.approx(sum(terms) / 6, abs=1e-10)


def test_weights_of_positives_must_be_positive_and_one_for_each_class() -> None:
    with pytest.raises(UserError, match="must be positive"):
        MultiLabel([1.0, -1.0, 2.0])
    with pytest.raises(UserError, match="2 positive_weights for 3 classes"):
        MultiLabel([1.0, 2.0]).loss(LOGITS, TARGETS)


def test_mixing_blends_several_labels_as_it_blends_clips() -> None:
    clip = torch.tensor([0, 200], dtype=torch.uint8)[:, None, None, None, None].expand(2, 3, 2, 5, 7)
    mixed, target = Mixing(mixup_alpha=1.0)(clip, TARGETS.float(), 3, (3, 1))
    share = mixed[1, 0, 0, 0, 0].item() / 200  # of the second clip in itself
    expected = share * TARGETS.float() + (1 - share) * TARGETS.float().roll(1, 0)
    torch.testing.assert_close(target, expected, rtol=0, atol=1e-6)


def test_metrics_hold_the_monitored_one_and_the_threshold_of_the_validation() -> None:
    task = TASKS["multi_label"]()
    scores = [
        VideoScore(i, f"{i}.mp4", label, LOGITS[[i]], ((0, 0),), "sigmoid") for i, label in enumerate(((0, 2), (2,)))
    ]
    assert task.choose(scores) == {"best_threshold": pytest.approx(1 / (1 + math.exp(-2)))}
    metrics = task.metrics(scores)
    assert metrics[task.monitor] == 1.0 and metrics["hit1"] == 1.0
    assert metrics["best_f1"] == pytest.approx(2 * 2 / (2 + 3)) and metrics["f1"] == pytest.approx(2 * 2 / (5 + 3))
    assert task.hits(LOGITS, TARGETS).tolist() == [1, 1]


def test_the_best_threshold_is_that_of_a_search_over_all() -> None:
    torch.manual_seed(0)
    probabilities, targets = torch.rand(23, 7).mul(10).round().div(10), (torch.rand(23, 7) < 0.3).long()

    def f1(threshold: float) -> float:
        found = probabilities >= threshold
        return float(2 * (found & (targets == 1)).sum() / (found.sum() + targets.sum()))

    best = max(probabilities.unique().tolist(), key=lambda threshold: (f1(threshold), threshold))
    assert best_threshold(probabilities, targets) == pytest.approx(best)


def test_an_average_of_another_task_is_refused() -> None:
    with pytest.raises(UserError, match="average max makes no sense for task single_label; choose one of softmax"):
        average_of("single_label", "max")
    with pytest.raises(UserError, match="average softmax makes no sense for task multi_label"):
        average_of("multi_label", "softmax")
