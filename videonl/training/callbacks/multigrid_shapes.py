"""The shapes of a multigrid training in its log."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from videonl.data.datamodule import ClipDataModule
from videonl.data.multigrid import Phase
from videonl.data.multigrid_schedule import MultigridSchedule

logger = logging.getLogger(__name__)


class MultigridShapes(Callback):
    """Logs the shape of each batch, and says when a phase of the long cycle begins; without multigrid it does nothing.

    Logged are ``multigrid/clips`` in each process, ``multigrid/num_frames`` and ``multigrid/crop_px``.
    """

    def __init__(self) -> None:
        self._schedule: MultigridSchedule | None = None
        self._phase: Phase | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks for the schedule."""
        self._schedule, self._phase = _data(trainer).multigrid_schedule(trainer), None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Logs the batch."""
        if self._schedule is None:
            return
        clips, _, num_frames, crop_px, _ = batch["clip"].shape
        shape = {"clips": clips, "num_frames": num_frames, "crop_px": crop_px}
        pl_module.log_dict({f"multigrid/{name}": float(value) for name, value in shape.items()}, rank_zero_only=True)
        phase = self._schedule.phase(self._schedule.step(trainer.current_epoch, batch_idx))
        if phase is not self._phase and trainer.is_global_zero:
            sizes = phase.describe(_data(trainer).loading.batch_size)
            logger.info("epoch %d: from here on clips x frames x px are %s", trainer.current_epoch + 1, sizes)
        self._phase = phase


def _data(trainer: Trainer) -> ClipDataModule:
    data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
    return data
