"""Several labels: the numbers of naive formulas."""

import math

import pytest
import torch
from torchmetrics.functional.classification import multilabel_average_precision

from videonl.errors import UserError
from videonl.evaluation import VideoScore
from videonl.tasks import TASKS, MultiLabel, SingleLabel
from videonl.tasks.loss import Loss

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
TARGETS = torch.tensor([[1, 0, 1], [0, 0.4, 0.7]], dtype=torch.float64)


def naive_loss(weights: tuple[float, ...], smoothing: float) -> float:
    total = 0.0
    for logits, targets in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True):
        for logit, target, weight in zip(logits, targets, weights, strict=True):
            smooth, probability = target * (1 - smoothing) + smoothing / 2, 1 / (1 + math.exp(-logit))
            total -= weight * smooth * math.log(probability) + (1 - smooth) * math.log(1 - probability)
    return total / TARGETS.numel()


@pytest.mark.parametrize(
    ("given", "weights"), [(None, (1, 1, 1)), (3.0, (3, 3, 3)), ([1.0, 2.0, 5.0], (1.0, 2.0, 5.0))]
)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_loss_is_binary_cross_entropy(given: float | None, weights: tuple[float, ...], smoothing: float) -> None:
    task = MultiLabel(given)
    assert float(task.loss(LOGITS, TARGETS, smoothing)) == pytest.approx(naive_loss(weights, smoothing), abs=1e-10)
    assert torch.autograd.gradcheck(lambda x: task.loss(x, TARGETS, smoothing), LOGITS.clone().requires_grad_())


@pytest.mark.parametrize("loss", [Loss(), Loss("focal")])
def test_processes_with_a_clip_each_average_to_the_loss_of_all(loss: Loss) -> None:
    task = MultiLabel([1.5] * LOGITS.shape[1], loss)
    each = [task.loss(LOGITS[[clip]], TARGETS[[clip]], 0.1) for clip in range(len(LOGITS))]
    torch.testing.assert_close(torch.stack(each).mean(), task.loss(LOGITS, TARGETS, 0.1), rtol=1e-12, atol=0)


def test_weights_that_make_no_sense_are_refused() -> None:
    for weights in (0.0, [1.0, -2.0], float("inf"), [1.0, float("nan")]):
        with pytest.raises(UserError, match="positive_weights must be finite and above 0"):
            MultiLabel(weights)


def test_hits_are_clips_whose_first_class_is_a_true_one() -> None:
    assert MultiLabel().hits(LOGITS, TARGETS).tolist() == pytest.approx([1, 0.7])


def test_each_task_has_its_averages() -> None:
    assert MultiLabel.average(None) == "sigmoid" and MultiLabel.average("max") == "max"
    assert SingleLabel.average(None) == "softmax"
    for task, average in ((MultiLabel, "softmax"), (SingleLabel, "max")):
        with pytest.raises(UserError, match=f"average {average} has no meaning for this task; choose one of"):
            task.average(average)  # type: ignore[arg-type]


def test_metrics_hold_the_monitored_one_and_the_threshold_is_the_validation_s() -> None:
    generator = torch.Generator().manual_seed(5)
    task = TASKS["multi_label"]()
    labels = [(0, 2), (), (1,), (0,), (1, 2), (2,), (0, 1)]
    scores = [
        VideoScore(i, f"{i}.mp4", label, torch.randn(2, 3, generator=generator), ((0, 0), (1, 0)), "sigmoid")
        for i, label in enumerate(labels)
    ]
    probabilities = torch.stack([score.logits.double().sigmoid().mean(0) for score in scores])
    targets = torch.tensor([[int(index in label) for index in range(3)] for label in labels])
    metrics = task.metrics(scores, threshold=0.4)
    theirs = multilabel_average_precision(probabilities, targets, num_labels=3, average="macro")
    assert metrics[task.monitor] == pytest.approx(float(theirs), abs=1e-6)
    best = task.threshold(scores)
    assert best is not None and task.metrics(scores, best)["f1_best"] >= max(
        task.metrics(scores, float(each))["f1_best"] for each in probabilities.flatten()
    )
    assert SingleLabel().threshold([]) is None
