"""Single labels: the numbers of naive formulas."""

import torch

from videonl.evaluation import VideoScore
from videonl.tasks import TASKS, SingleLabel

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]], dtype=torch.float64)


def test_loss_is_the_mean_negative_log_probability_with_smoothed_targets() -> None:
    log_probabilities = LOGITS - LOGITS.exp().sum(dim=1, keepdim=True).log()
    targets = 0.7 * torch.eye(3, dtype=torch.float64)[[0, 1]] + 0.3 / 3
    naive = -(targets * log_probabilities).sum(dim=1).mean()
    torch.testing.assert_close(SingleLabel().loss(LOGITS, torch.tensor([0, 1]), 0.3), naive, rtol=0, atol=1e-10)


def test_hits_take_the_stronger_label_of_mixed_clips() -> None:
    task = SingleLabel()
    assert task.hits(LOGITS, torch.tensor([0, 1])).tolist() == [1, 0]
    assert task.hits(LOGITS, torch.tensor([[0.4, 0.6, 0.0], [0.1, 0.2, 0.7]])).tolist() == [0, 1]


def test_metrics_are_the_accuracies_and_hold_the_monitored_one() -> None:
    task = TASKS["single_label"]()
    scores = [VideoScore(i, f"{i}.mp4", label, LOGITS[[i]], ((0, 0),)) for i, label in enumerate((0, 1))]
    metrics = task.metrics(scores)
    assert metrics[task.monitor] == 0.5 and metrics["mean_class"] == 0.5
