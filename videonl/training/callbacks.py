"""What happens beside training: files that cannot be read are named, and evaluations are written down."""

import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from videonl.evaluation import print_accuracies, write_scores
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


class WriteScores(Callback):
    """After ``test`` and ``predict``: one CSV row per video, and for ``test`` a table of accuracies.

    Args:
        directory: Where ``test.csv`` and ``predictions.csv`` go.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _write(self, module: ClipModule, name: str) -> None:
        path = self.directory / name
        write_scores(path, module.scores, module.class_names)
        logger.info("wrote the scores of %d videos to %s", len(module.scores), path)

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the scores and prints the accuracies."""
        assert isinstance(pl_module, ClipModule)
        self._write(pl_module, "test.csv")
        prefix = "test/"
        metrics = {name.removeprefix(prefix): float(value) for name, value in trainer.callback_metrics.items()}
        print_accuracies(Console(), metrics, len(pl_module.scores))

    @rank_zero_only
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the scores."""
        assert isinstance(pl_module, ClipModule)
        self._write(pl_module, "predictions.csv")
