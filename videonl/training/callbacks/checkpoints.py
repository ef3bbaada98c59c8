"""Writes last.ckpt."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from videonl.errors import UserError
from videonl.training.lightning_internals import is_step_followed


class LastCheckpoint(Checkpoint):
    """Writes one file after every epoch and, if configured, within epochs; ends a training that has diverged.

    A step that is followed by a validation or by the end of its epoch is not saved before that has happened: a
    training that is resumed from there would leave it out. The end of the epoch, or the next step, is saved instead.

    Weights that have become NaN or infinite stay so, and are not written over good ones. A single loss that is not
    finite ends nothing: in 16-bit precision the trainer skips such steps.

    Args:
        path: The file.
        every_num_steps: Also write it after this many steps since it was last written; 0 for never.
    """

    def __init__(self, path: Path, every_num_steps: int = 0) -> None:
        self.path = path
        self.every_num_steps = every_num_steps
        self._saved_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts from where a resumed training begins."""
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes the file when it is due."""
        is_due = 0 < self.every_num_steps <= trainer.global_step - self._saved_step
        if is_due and not is_step_followed(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by the trainer's debugging flags
            return
        broken = _first_not_finite(trainer.lightning_module)
        if broken is not None:
            kept = f"{self.path} holds the last good weights" if self.path.is_file() else "there is no checkpoint yet"
            raise UserError(
                f"{broken} is not finite after step {trainer.global_step}: the training has "
                f"diverged; {kept}. Try a lower --model.optimization.lr, a longer warm-up, "
                "--trainer.gradient_clip_val, or another precision"
            )
        trainer.save_checkpoint(self.path)
        self._saved_step = trainer.global_step


def _first_not_finite(module: LightningModule) -> str | None:
    """The name of the first weight, or statistic of a norm, that is not finite."""
    state = module.state_dict()
    return next((name for name, value in state.items() if not value.isfinite().all()), None)
