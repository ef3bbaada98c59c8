"""Evaluations within a run: which views they take, and what is written of them."""

import logging
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from videonl.data.datamodule import ClipDataModule
from videonl.evaluation import EvaluationRecord, write_record
from videonl.evaluation.about import describe_checkpoint, describe_network, describe_source, today
from videonl.evaluation.report import names_of, print_evaluation, write_evaluation
from videonl.outputs import check_file
from videonl.terminal import Console
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)


class ValidationViews(Callback):
    """Logs before the first validation which views it takes, and how the test differs."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Logs both."""
        data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
        if trainer.is_global_zero and stage in ("fit", "validate") and "val" in data.videos:
            validation, test = (views.describe(data.clip) for views in (data.validation_views, data.test_views))
            logger.info("validation scores %s of each video, always the same; a test scores %s", validation, test)


class WriteScores(Callback):
    """After ``test`` and ``predict``, writes a record of every video's views; for ``test`` also a report.

    The accuracies of ``test`` and ``validate`` are printed.

    Args:
        directory: Where ``test.parquet``, ``test.html``, ``test_confusion.png`` and ``predictions.parquet`` go.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @rank_zero_only
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Sees before the work that its results can be written."""
        for name in {"test": names_of("test"), "predict": ("predictions.parquet",)}.get(stage, ()):
            check_file(self.directory / name)

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes record and report, and prints the accuracies."""
        record = _record(trainer, pl_module)
        written = write_evaluation(self.directory, "test", record)
        if record.labeled:
            print_evaluation(Console(), record.labeled, len(record.unreadable), record.threshold)
            logger.info("wrote the report to %s", written.page)
        logger.info("wrote the scores of %d videos to %s", len(record.scores), written.record)

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the accuracies of ``validate``; those of a training are in the line of their epoch."""
        assert isinstance(pl_module, ClipModule)
        record = EvaluationRecord(pl_module.class_names, pl_module.scores)
        if trainer.state.fn == TrainerFn.VALIDATING and record.labeled:
            print_evaluation(Console(), record.labeled, len(pl_module.unreadable), pl_module.threshold)

    @rank_zero_only
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the record."""
        record, path = _record(trainer, pl_module), self.directory / "predictions.parquet"
        write_record(path, record)
        logger.info("wrote the scores of %d videos to %s", len(record.scores), path)


def about(trainer: Trainer, module: ClipModule) -> dict[str, str]:
    """What a test or prediction is of."""
    data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
    return {
        "checkpoint": describe_checkpoint(trainer.ckpt_path, Path(str(trainer.ckpt_path))),
        "videos": describe_source(data.sources["test"], data.root),
        **describe_network(module.network),
        "views": data.test_views.describe(data.clip),
        "clip": data.clip.describe(),
        **({} if module.threshold is None else {"threshold": f"{module.threshold:.6g}"}),
    }


def _record(trainer: Trainer, module: LightningModule) -> EvaluationRecord:
    assert isinstance(module, ClipModule)
    return EvaluationRecord(module.class_names, module.scores, about(trainer, module) | today(), module.unreadable)
