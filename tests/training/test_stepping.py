"""Lightning's accumulation, clipping and averaging beside our schedule: how many steps, at which rate, of what."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from videonl.training import ClipModule, Optimization

Train = Callable[..., ClipModule]
Weights = dict[str, Tensor]


class Watch(Callback):
    """Keeps rate and weights of each optimizer step, and the weights that are validated."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.weights: list[Weights] = []
        self.validated: list[Weights] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.weights.append(_weights(pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.weights.append(_weights(pl_module))

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not trainer.sanity_checking:
            self.validated.append(_weights(pl_module))


def _weights(module: LightningModule) -> Weights:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


@pytest.mark.parametrize(("accumulated", "steps"), [(1, 9), (2, 6), (3, 3), (5, 3)])
def test_the_schedule_ends_with_the_training(train: Train, accumulated: int, steps: int) -> None:
    # Three batches in each of three epochs; what an epoch has left over is a step too.
    watch = Watch()
    settings = Optimization(lr=0.3, schedule="cosine", warmup_fraction=1 / 3)
    module = train([watch], optimization=settings, max_epochs=3, accumulate_grad_batches=accumulated)
    assert module.trainer.global_step == steps
    warm = steps // 3
    falling = [0.15 * (1 + math.cos(math.pi * step / (steps - warm))) for step in range(steps - warm)]
    assert watch.rates == pytest.approx([*(0.3 * (step + 1) / warm for step in range(warm)), *falling])


def test_rate_counts_accumulated_batches(train: Train) -> None:
    watch = Watch()
    settings = Optimization(lr=0.1, lr_per_clips=16, schedule="constant")
    train([watch], optimization=settings, accumulate_grad_batches=3)
    assert watch.rates == pytest.approx([0.1 * 2 * 3 / 16] * 2)


def test_clipped_gradients_move_no_further(train: Train) -> None:
    watch = Watch()
    settings = Optimization(lr=0.5, schedule="constant", momentum=0.0, weight_decay=0.0)
    train([watch], optimization=settings, gradient_clip_val=0.01)
    for before, after in zip(watch.weights, watch.weights[1:], strict=False):
        norm = torch.stack([(after[name] - before[name]).square().sum() for name in before]).sum().sqrt()
        assert float(norm) == pytest.approx(0.5 * 0.01, rel=1e-3)  # every gradient here is longer than that


def averaged(weights: list[Weights], decay: float) -> Weights:
    """The first as it is, and from each later one its share."""
    total = weights[0]
    for later in weights[1:]:
        total = {name: decay * value + (1 - decay) * later[name] for name, value in total.items()}
    return total


def test_averaged_weights_are_validated_and_saved(train: Train, tmp_path: Path) -> None:
    watch = Watch()
    train([watch, EMAWeightAveraging(decay=0.7)], max_epochs=1)
    after_steps = [*watch.weights[1:3], _current(tmp_path / "run" / "last.ckpt")]
    expected = averaged(after_steps, 0.7)
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in expected.items():
        torch.testing.assert_close(saved[name], value)
        torch.testing.assert_close(watch.validated[-1][name], value)
        assert not torch.equal(saved[name], after_steps[-1][name])


def _current(path: Path) -> Weights:
    state: Weights = torch.load(path, weights_only=True)["current_model_state"]
    return {name: value for name, value in state.items() if not name.rpartition(".")[2].startswith(("running", "num"))}


@pytest.mark.parametrize("until_step", [2, 3, 5])
def test_an_interrupted_average_goes_on(train: Train, until_step: int) -> None:
    whole = train([EMAWeightAveraging(decay=0.7)])
    train([EMAWeightAveraging(decay=0.7)], folder="parts", until_step=until_step)
    resumed = train([EMAWeightAveraging(decay=0.7)], folder="parts", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
