"""Confusion matrix and table of classes of an evaluation, for loggers that can show them."""

from collections.abc import Callable
from functools import cache, partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from videonl.evaluation import EvaluationRecord, stack
from videonl.evaluation.figures import confusion_png
from videonl.evaluation.metrics import confusion_matrix
from videonl.evaluation.page import ClassRow, class_rows
from videonl.training.guarded_loggers import attempt
from videonl.training.module import ClipModule

COLUMNS = ("class", "videos", "accuracy", "most often taken for", "how many")


class _Findings(NamedTuple):
    """Of one evaluation."""

    stage: str
    step: int
    confusion: Image.Image
    rows: list[ClassRow]


class EvaluationLogs(Callback):
    """Shows W&B and TensorBoard ``STAGE/confusion``, a picture, and ``STAGE/classes``, a table, after each evaluation.

    Other loggers only take numbers; without W&B and TensorBoard nothing is drawn.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the validation, unless it is Lightning's check before the training."""
        if not trainer.sanity_checking:
            self._show("val", trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the test."""
        self._show("test", trainer, pl_module)

    def _show(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, ClipModule)
        record = EvaluationRecord(module.class_names, module.scores)
        if not trainer.is_global_zero or not record.labeled:
            return
        findings = cache(partial(_found, stage, trainer.global_step, record))  # made when, and if, it is asked for
        for logger in trainer.loggers:
            for kind, show in _SHOW.items():
                if isinstance(logger, kind):
                    attempt(logger, f"{stage}/confusion", show, logger, findings)


def _found(stage: str, step: int, record: EvaluationRecord) -> _Findings:
    counts = confusion_matrix(*stack(record.labeled))
    picture = Image.open(BytesIO(confusion_png(counts, record.class_names)), formats=["PNG"]).convert("RGB")
    return _Findings(stage, step, picture, class_rows(counts, record.class_names))


def _on_wandb(logger: WandbLogger, find: Callable[[], _Findings]) -> None:
    import wandb

    findings = find()
    table = wandb.Table(columns=list(COLUMNS), data=[list(row) for row in findings.rows])
    shown = {"confusion": wandb.Image(findings.confusion), "classes": table}
    logger.experiment.log(
        {f"{findings.stage}/{name}": what for name, what in shown.items()} | {"trainer/global_step": findings.step}
    )


def _on_tensorboard(logger: TensorBoardLogger, find: Callable[[], _Findings]) -> None:
    findings = find()
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(row) for row in findings.rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    writer = logger.experiment
    confusion = np.asarray(findings.confusion)
    writer.add_image(f"{findings.stage}/confusion", confusion, findings.step, dataformats="HWC")
    writer.add_text(f"{findings.stage}/classes", table, findings.step)


def _cells(row: ClassRow) -> tuple[str, ...]:
    name, other = (text.replace("|", "\\|") for text in (row.name, row.taken_for))
    taken = (other, str(row.num_taken)) if row.num_taken else ("", "")
    return name, str(row.num_videos), f"{100 * row.accuracy:.1f} %", *taken


_SHOW: dict[type[Logger], Any] = {WandbLogger: _on_wandb, TensorBoardLogger: _on_tensorboard}
