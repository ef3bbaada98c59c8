"""Throughput of a training, and the share of time that it waits for data."""

import logging
import math
import time
from dataclasses import astuple, dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from videonl.data.loader import ResumableLoader
from videonl.runtime.device import peak_memory_bytes

logger = logging.getLogger(__name__)
_MUCH = 0.1  # of the time; from here on waiting is worth a warning,
_SOME_SECONDS = 0.1  # but not of an epoch that is over at once


@dataclass
class _Window:
    """A period of training in this process: clips, seconds, and the seconds spent waiting for data."""

    num_clips: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class Throughput(Callback):
    """Logs clips per second of all processes together, and the share of time that they wait for data.

    Both cover training only, without validations and without the start of the workers before the first batch:
    ``throughput/clips_per_second`` and ``throughput/data_wait`` since metrics were last logged, and with ``_epoch``
    over a whole epoch. The share is that of the process that waits longest. If an epoch waits for more than a tenth of
    its time, a warning says what helps. After each epoch, ``throughput/peak_memory_mib_epoch`` is the most memory that
    a process has held so far: on a GPU what PyTorch allocated there, else what was resident.

    The device is synchronized at the end of an epoch only. Its queue holds a step or two, so beyond these, time spent
    waiting for the loader is time that the device is idle.
    """

    def __init__(self) -> None:
        self._step, self._epoch = _Window(), _Window()
        self._started = False
        self._counted_until = 0.0  # when, and what the loader had waited then
        self._waited_until = 0.0
        self._validation_begun = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._step, self._epoch = _Window(), _Window()
        self._counted_until, self._waited_until = time.perf_counter(), _waited(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restarts the clock at the very first batch, for which the workers had to start."""
        if not self._started:
            self._started = True
            self.on_train_epoch_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the step, with the time since the last one; logs where the trainer logs."""
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        now, waited = time.perf_counter(), _waited(trainer)
        for window in (self._step, self._epoch):
            window.num_clips += len(batch["label"])
            window.seconds += now - self._counted_until
            window.waited += waited - self._waited_until
        self._counted_until, self._waited_until = now, waited
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a part of the trainer's
        if every and trainer.global_step % every == 0:
            step, self._step = self._step, _Window()
            self._log(pl_module, "", step.num_clips * trainer.world_size / step.seconds, step.waited / step.seconds)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._validation_begun = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restarts the clock."""
        self._counted_until += time.perf_counter() - self._validation_begun

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the epoch, and warns if it waited long."""
        peak_mib = peak_memory_bytes(pl_module.device) / 2**20
        own = torch.tensor([*astuple(self._epoch), peak_mib], device=pl_module.device)
        everyones = pl_module.all_gather(own)
        assert isinstance(everyones, torch.Tensor)
        num_clips, seconds, waited, peaks = everyones.cpu().reshape(-1, 4).unbind(1)
        clips_per_second, share = float(num_clips.sum() / seconds.max()), float((waited / seconds).max())
        self._log(pl_module, "_epoch", clips_per_second, share)
        pl_module.log("throughput/peak_memory_mib_epoch", float(peaks.max()), sync_dist=True, rank_zero_only=True)
        if share > _MUCH and float(waited.max()) > _SOME_SECONDS and trainer.is_global_zero:
            self._advise(trainer, clips_per_second, share, float(seconds.max()))

    def _log(self, module: LightningModule, suffix: str, clips_per_second: float, share: float) -> None:
        values = {"clips_per_second": clips_per_second, "data_wait": share}
        named = {f"throughput/{name}{suffix}": value for name, value in values.items() if not math.isnan(value)}
        module.log_dict(named, on_step=not suffix, on_epoch=bool(suffix), sync_dist=bool(suffix), rank_zero_only=True)

    def _advise(self, trainer: Trainer, clips_per_second: float, share: float, seconds: float) -> None:
        loader = trainer.train_dataloader
        logger.warning(
            "epoch %d waited for data for %.0f %% of its time (%.1f of %.1f s; %.1f clips/s, %.1f without waiting): "
            "raise --data.loading.num_workers (now %s) if there are idle cores, re-encode the videos with videonl "
            "prepare, and measure the steps of loading with videonl bench data",
            *(trainer.current_epoch, 100 * share, share * seconds, seconds),
            *(clips_per_second, clips_per_second / max(1 - share, 1e-3), getattr(loader, "num_workers", "unknown")),
        )


def _waited(trainer: Trainer) -> float:
    """How long the process has waited for batches of training so far; of another loader it is not known (NaN)."""
    loader = trainer.train_dataloader
    return loader.waited_seconds if isinstance(loader, ResumableLoader) else math.nan
