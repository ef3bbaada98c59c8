"""A training in plain lines: one an epoch, and where no bar moves, one every so often."""

import logging
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from videonl.evaluation.metrics import TITLES
from videonl.terminal import Pace

_log = logging.getLogger(__name__)
_STAGES = {
    TrainerFn.FITTING: "val",
    TrainerFn.VALIDATING: "val",
    TrainerFn.TESTING: "test",
    TrainerFn.PREDICTING: "predict",
}


class ProgressLines(Callback):
    """Says after each epoch what it came to, and, given a pace, how far the work is.

    Args:
        pace: When to say how far it is; ``None`` where a bar does.
    """

    def __init__(self, pace: Pace | None) -> None:
        self.pace = pace
        self._begun = 0.0
        self._validated: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins."""
        self._begun, self._validated = time.monotonic(), {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Says how far the epoch is."""
        if trainer.is_global_zero and self.pace and self.pace.is_due():
            loss = f", loss {float(outputs['loss']):.3f}" if isinstance(outputs, dict) and "loss" in outputs else ""
            steps = _of(batch_idx + 1, trainer.num_training_batches)
            _log.info("%s: step %s%s", _epoch(trainer), steps, loss)

    def _tell_evaluation(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or not self.pace or not self.pace.is_due():
            return
        stage = _STAGES[trainer.state.fn] if trainer.state.fn else "val"
        numbers = getattr(trainer, f"num_{stage}_batches")
        total = numbers[0] if isinstance(numbers, list) and numbers else numbers
        what = {"val": "validation", "test": "test", "predict": "prediction"}[stage]
        _log.info("%s: batch %s", what, _of(batch_idx + 1, total))

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = _tell_evaluation

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the accuracies for the epoch's line."""
        metrics = trainer.callback_metrics
        if not trainer.sanity_checking:
            self._validated = {name[4:]: float(value) for name, value in metrics.items() if name.startswith("val/")}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what the epoch came to."""
        metrics = trainer.callback_metrics  # in every process: they are brought together here
        said = [f"loss {float(metrics[name]):.3f}" for name in ("train/loss_epoch",) if name in metrics]
        said += [
            f"{'validation ' * (not place)}{TITLES[name]} {100 * self._validated[name]:.1f} %"
            for place, name in enumerate(name for name in TITLES if name in self._validated)
        ]
        if trainer.is_global_zero:
            _log.info("%s: %s", _epoch(trainer), ", ".join([*said, f"{time.monotonic() - self._begun:.0f} s"]))


def _epoch(trainer: Trainer) -> str:
    return f"epoch {_of(trainer.current_epoch + 1, trainer.max_epochs or -1)}"


def _of(number: int, total: float) -> str:
    return f"{number} of {total}" if 0 < total < float("inf") else str(number)
