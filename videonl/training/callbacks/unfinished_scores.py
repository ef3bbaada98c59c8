"""Tests and predictions that can be interrupted."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from videonl.data.datamodule import ClipDataModule
from videonl.errors import UserError
from videonl.evaluation.about import digest
from videonl.evaluation.unfinished import UnfinishedEvaluation
from videonl.training.callbacks.evaluations import about
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)


class UnfinishedScores(Callback):
    """Writes every video of ``test`` and ``predict`` to disk as soon as it is scored; the same command goes on there.

    In one process, and for all videos: several processes, and ``limit_test_batches``, begin anew.

    Args:
        directory: Where ``test.part`` and ``predict.part`` lie meanwhile.
        checkpoint: What is tested.
    """

    def __init__(self, directory: Path, checkpoint: Path) -> None:
        self.directory = directory
        self.checkpoint = checkpoint
        self._open = ExitStack()
        self._unfinished: UnfinishedEvaluation | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reads what is there; before the loader is made, which leaves out what is scored."""
        if stage not in ("test", "predict") or trainer.world_size > 1:
            return
        if (trainer.limit_test_batches if stage == "test" else trainer.limit_predict_batches) != 1.0:
            return
        assert isinstance(pl_module, ClipModule)
        data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer
        asked = {
            **about(trainer, pl_module),
            "checkpoint": f"{self.checkpoint} {digest(self.checkpoint.read_bytes())}",
            "average": pl_module.average,
            "precision": str(trainer.precision),
            "listed": digest(repr(list(data.videos["test"])).encode()),
        }
        part = self.directory / f"{TrainerFn(stage).value}.part"  # Lightning gives a member, whose text is its class's
        self._unfinished = unfinished = _begin(part, pl_module.class_names, asked)
        self._open.enter_context(unfinished)
        data.scored = frozenset(score.video for score in unfinished.scores)
        pl_module.resume_scores(unfinished.scores, unfinished.add)
        if data.scored:
            logger.info("resuming: %d of %d videos are scored already", len(data.scored), len(data.videos["test"]))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Removes the file: the record is written."""
        self._open.close()
        if self._unfinished is not None:
            self._unfinished.path.unlink()

    on_predict_end = on_test_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the file whole."""
        self._open.close()


def _begin(path: Path, class_names: list[str], asked: Mapping[str, str]) -> UnfinishedEvaluation:
    try:
        return UnfinishedEvaluation(path, class_names, asked)
    except UserError:  # as after more training; finished scores, too, are replaced by those of the newer checkpoint
        logger.info("%s was of another checkpoint, other videos or other views: starting from scratch", path)
        path.unlink()
        return UnfinishedEvaluation(path, class_names, asked)
