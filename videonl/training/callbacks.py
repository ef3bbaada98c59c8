"""What happens beside training: files that cannot be read are named, and evaluations are written down."""

import logging
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from videonl.data.datamodule import ClipDataModule
from videonl.data.randomness import hashed
from videonl.errors import UserError
from videonl.evaluation import Record, write_record
from videonl.evaluation.report import print_evaluation, write_evaluation
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)
_FEW = 5
_CHECK_EVERY_BATCHES = 50


class SeedSteps(Callback):
    """Seeds each training step, so that dropout too is a function of (seed, epoch, step, process) alone.

    A training that is resumed in the middle of an epoch then goes on exactly as it would have.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seeds the generators of all devices."""
        torch.manual_seed(hashed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))


class _Tally:
    """How many videos were tried in an epoch or an evaluation, each of them once, and which could not be read."""

    def __init__(self) -> None:
        self.num_tried = 0
        self.reasons: dict[str, str] = {}

    def check(self, most: float) -> None:
        """Raise a UserError when of all processes' videos more than this share could not be read."""
        everyones = _gathered((self.num_tried, self.reasons))
        num_tried = sum(number for number, _ in everyones)
        reasons = {path: reason for _, reasons in everyones for path, reason in reasons.items()}
        if len(reasons) > max(_FEW, most * num_tried):
            listed = "\n".join(f"  {path}: {reason}" for path, reason in sorted(reasons.items()))
            raise UserError(
                f"{len(reasons)} of {num_tried} videos could not be read, more than the share of {most:g} that "
                f"--data.loading.max_failed_share allows:\n{listed}\nMend or remove them, or allow a larger share."
            )


def _gathered(own: Any) -> list[Any]:
    """What every process has."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    everyones: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyones, own)
    return everyones


class UnreadableVideos(Callback):
    """Names every video that could not be read, once; counts them at the end of each epoch or evaluation.

    Args:
        max_share: Share of the videos beyond which the run stops and lists them. Five may always be unreadable. In
            training the share is looked at every 50 batches and at the end of each epoch.

    Raises:
        UserError: From the hooks, when there are more.
    """

    def __init__(self, max_share: float = 1.0) -> None:
        self.max_share = max_share
        self._named: set[str] = set()
        self._training = _Tally()
        self._evaluation = _Tally()  # apart, because a validation happens before the training epoch ends

    def _note(self, batch: Any, num_tried: int, tally: _Tally) -> None:
        tally.num_tried += num_tried
        for failure in batch["failures"]:
            tally.reasons[failure.path] = failure.reason
            if failure.path not in self._named:
                self._named.add(failure.path)
                logger.warning("skipped %s: %s", failure.path, failure.reason)

    def _count(self, tally: _Tally, consequence: str) -> None:
        if tally.reasons:
            logger.warning("videos that could not be read and %s: %d", consequence, len(tally.reasons))
        tally.check(self.max_share)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Names the batch's failures."""
        self._note(batch, len(set(batch["video"])), self._training)
        if (batch_idx + 1) % _CHECK_EVERY_BATCHES == 0:
            self._training.check(self.max_share)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the epoch's failures; the count is logged too."""
        number = torch.tensor(float(len(self._training.reasons)), device=pl_module.device)
        pl_module.log("train/unreadable_videos", number, sync_dist=True, reduce_fx="sum")
        self._count(self._training, f"were replaced by others in epoch {trainer.current_epoch}")
        self._training = _Tally()

    def _note_evaluation(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note(batch, len(batch["video"].unique()) + len(batch["failures"]), self._evaluation)

    def _count_evaluation(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(self._evaluation, "have no score")
        self._evaluation = _Tally()

    # Validation, test and prediction differ in nothing that matters here.
    on_validation_batch_start = on_test_batch_start = on_predict_batch_start = _note_evaluation
    on_validation_epoch_end = on_test_epoch_end = on_predict_epoch_end = _count_evaluation


class ValidationViews(Callback):
    """Says before the first validation which views it takes, and how the test differs."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Logs both."""
        data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
        if trainer.is_global_zero and stage in ("fit", "validate") and "val" in data.videos:
            validation, test = (views.describe(data.clip) for views in (data.validation_views, data.test_views))
            logger.info("a validation scores %s of each video, always the same; a test %s", validation, test)


class WriteScores(Callback):
    """After ``test`` and ``predict``: a record of every video's views; for ``test`` also a report.

    Args:
        directory: Where ``test.parquet``, ``test.html``, ``test_confusion.png`` and ``predictions.parquet`` go.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes record and report, and prints the accuracies."""
        record = _record(trainer, pl_module)
        written = write_evaluation(self.directory, "test", record)
        if record.labelled:
            print_evaluation(Console(), record.labelled)
            logger.info("wrote the report to %s", written.page)
        logger.info("wrote the scores of %d videos to %s", len(record.scores), written.record)

    @rank_zero_only
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the record."""
        record, path = _record(trainer, pl_module), self.directory / "predictions.parquet"
        write_record(path, record)
        logger.info("wrote the scores of %d videos to %s", len(record.scores), path)


def _record(trainer: Trainer, module: LightningModule) -> Record:
    assert isinstance(module, ClipModule)
    data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
    about = {
        "checkpoint": str(trainer.ckpt_path),
        "views": data.test_views.describe(data.clip),
        "clip": data.clip.describe(),
    }
    return Record(module.class_names, module.scores, about, module.unreadable)
