"""When last.ckpt is written."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class LastCheckpoint(Checkpoint):
    """Writes one file after every epoch and, where asked to, within epochs.

    A step that is followed by a validation or by the end of its epoch is not saved before that has happened: a
    training that is resumed from there would leave it out. The end of the epoch, or the next step, is saved instead.

    Args:
        path: The file.
        every_num_steps: Write it as well when so many steps were made since it was last written; 0 for never.
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
        if is_due and not _is_followed(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by the trainer's debugging flags
            trainer.save_checkpoint(self.path)
            self._saved_step = trainer.global_step


def _is_followed(trainer: Trainer) -> bool:
    """Whether something of this step is still to come: more of its batches, a validation, the end of its epoch."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return loop._should_accumulate() or loop._is_training_done or loop._should_check_val_fx(fetcher)
