"""State that a resumed training needs in addition to weights, optimizer and data."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor

from videonl.errors import UserError
from videonl.runtime.gathering import gathered
from videonl.training.continued_log import ContinuedCSVLogger
from videonl.training.lightning_internals import (
    add_sums,
    begin_next_epoch,
    coming_row,
    is_epoch_over,
    reopen_epoch,
    sums,
    uncount_validated_step,
)

_log = logging.getLogger(__name__)


class Continuation(Callback):
    """Makes a resumed training log as an uninterrupted one: each row once, and means of whole epochs.

    The trainer's checkpoints hold neither the number of logged rows nor the sums behind an epoch's means, and the
    trainer logs a step or an epoch only after its checkpoint was written. So this callback adds all three to a
    checkpoint: the number of rows, the next row, and every process's sums.

    A training that ended within an epoch (by its steps, its time, or early stopping) resumes there when it is given
    more; the trainer would skip the rest of the epoch. A training that was stopped early stays stopped.
    """

    def __init__(self) -> None:
        self._log: dict[str, Any] = {"num_rows": 0, "next": None}
        self._sums: dict[str, list[Tensor]] = {}
        self._within_epoch = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds to the checkpoint; called in every process."""
        coming = coming_row(trainer)
        logger = _logger(trainer)
        if logger is not None:
            num_rows = logger.experiment.settle() if trainer.is_global_zero else 0
            checkpoint["videonl_log"] = {"num_rows": num_rows, "next": coming}
        checkpoint["videonl_sums"] = gathered(sums(trainer) if self._within_epoch else {})
        if not is_epoch_over(trainer):
            reopen_epoch(checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes it from the checkpoint."""
        self._log = checkpoint.get("videonl_log", {"num_rows": None, "next": None})
        everyones = checkpoint.get("videonl_sums", [])
        if len(everyones) == trainer.world_size:  # else an epoch begins: the data would refuse to go on within one
            self._sums = everyones[trainer.global_rank]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops the rows that will be logged again, adds the one that will not, and ends what was stopped early.

        Raises:
            UserError: Only some of the processes resume.
        """
        if len(set(gathered(trainer.ckpt_path is None))) > 1:
            raise UserError("only some processes found a checkpoint; --run.dir must be on a shared disk")
        _stay_stopped(trainer)
        logger = _logger(trainer)
        if logger is None or not logger.continued or not trainer.is_global_zero or self._log["num_rows"] is None:
            return
        logger.experiment.rewind(self._log["num_rows"])
        if self._log["next"] is not None:
            logger.log_metrics(**self._log["next"])
            logger.save()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins the next epoch where one was over.

        With ``max_steps`` the trainer would end that epoch again, count it twice, and leave out the next one's videos.
        And it would count a step twice whose validation is not repeated.
        """
        uncount_validated_step(trainer)
        begin_next_epoch(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """From here on the epoch has sums."""
        self._within_epoch = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the sums from before the interruption, once the trainer has made its own."""
        if self._sums:
            add_sums(trainer, self._sums)
        self._sums = {}  # what is left is of the end of an epoch that was not over

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The next epoch has sums of its own."""
        self._within_epoch = not is_epoch_over(trainer)


def _logger(trainer: Trainer) -> ContinuedCSVLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, ContinuedCSVLogger)), None)


def _stay_stopped(trainer: Trainer) -> None:
    """Keeps a training stopped that early stopping has ended, also after a restart; the trainer forgets it."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the trainer's constructor
    stopping = [callback for callback in callbacks if isinstance(callback, EarlyStopping)]
    for callback in stopping:
        if callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED and not trainer.should_stop:
            trainer.should_stop = True
            if trainer.is_global_zero:
                _log.info("early stopping on %s ended this training; to train on, remove it", callback.monitor)
