"""What happens beside training: files that cannot be read are named, and evaluations are written down."""

import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from videonl.data.datamodule import ClipDataModule
from videonl.evaluation import Record, write_record
from videonl.evaluation.report import print_evaluation, write_evaluation
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)


class UnreadableVideos(Callback):
    """Names every video that could not be read, once, and counts them at the end of each epoch or evaluation."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._training: set[str] = set()  # those of this epoch
        self._evaluation: set[str] = set()  # apart, because a validation happens before the training epoch ends

    def _note(self, batch: Any, unreadable: set[str]) -> None:
        for failure in batch["failures"]:
            unreadable.add(failure.path)
            if failure.path not in self._named:
                self._named.add(failure.path)
                logger.warning("skipped %s: %s", failure.path, failure.reason)

    def _count(self, unreadable: set[str], consequence: str) -> None:
        if unreadable:
            logger.warning("videos that could not be read and %s: %d", consequence, len(unreadable))
        unreadable.clear()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Names the batch's failures."""
        self._note(batch, self._training)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the epoch's failures; the count is logged too."""
        number = torch.tensor(float(len(self._training)), device=pl_module.device)
        pl_module.log("train/unreadable_videos", number, sync_dist=True, reduce_fx="sum")
        self._count(self._training, f"were replaced by others in epoch {trainer.current_epoch}")

    def _note_evaluation(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note(batch, self._evaluation)

    def _count_evaluation(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(self._evaluation, "have no score")

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
