"""The W&B artifacts of a training: the list of its videos, and its best checkpoint."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from videonl.data.datamodule import ClipDataModule
from videonl.data.sources.several import joined
from videonl.data.video import Video
from videonl.files import write_text
from videonl.training.guarded_loggers import attempt


class Artifacts(Callback):
    """Logs the W&B artifacts ``videos``, at the start of a training, and ``model-RUN``, at its end.

    ``videos`` is a table of split, class and path of every video. It is made of these alone, so trainings on the same
    data share one version. ``model-RUN`` is ``best.ckpt``, or ``last.ckpt`` where nothing was validated.

    Args:
        directory: Folder of the run.
        checkpoints: Folder of its checkpoints.
        upload_limit_mb: A larger file is not uploaded: its artifact has its path and checksum.
    """

    def __init__(self, directory: Path, checkpoints: Path, upload_limit_mb: float) -> None:
        self.directory, self.checkpoints = directory, checkpoints
        self.upload_limit_mb = upload_limit_mb

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lists the videos."""
        data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
        for logger in _wandb_loggers(trainer):
            attempt(logger, "artifact of the videos", self._log_videos, logger, data)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Uploads the checkpoint."""
        for logger in _wandb_loggers(trainer):
            attempt(logger, "artifact of the checkpoint", self._log_model, logger, trainer)

    def _log_videos(self, logger: WandbLogger, data: ClipDataModule) -> None:
        path = self.directory / "wandb" / "videos.csv"
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(["split", "label", "path"])
        for split, videos in data.videos.items():
            table.writerows([split, _named(data, video), str(video.path)] for video in videos)
        write_text(path, text.getvalue())
        numbers = {split: len(videos) for split, videos in data.videos.items()}
        about = {"videos": numbers, "classes": data.class_names, "clip": data.clip.describe()}
        self._log(logger, "videos", "dataset", path, about)

    def _log_model(self, logger: WandbLogger, trainer: Trainer) -> None:
        kept = [self.checkpoints / name for name in ("best.ckpt", "last.ckpt") if (self.checkpoints / name).is_file()]
        if not kept:
            return
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        about = {"epochs": trainer.current_epoch, "steps": trainer.global_step, "last validation": scores}
        self._log(logger, f"model-{logger.experiment.id}", "model", kept[0], about, [kept[0].stem])

    def _log(
        self, logger: WandbLogger, name: str, kind: str, path: Path, about: dict[str, Any], aliases: Any = None
    ) -> None:
        import wandb

        artifact = wandb.Artifact(name, kind, metadata=about)
        if path.stat().st_size > self.upload_limit_mb * 1e6:
            artifact.add_reference(path.resolve().as_uri(), name=path.name)
        else:
            artifact.add_file(str(path), name=path.name)  # a copy: the next training may write another best.ckpt
        logger.experiment.log_artifact(artifact, aliases=aliases)


def _named(data: ClipDataModule, video: Video) -> str:
    """The label of a video as lists have it."""
    if isinstance(video.label, tuple):
        return joined(data.class_names[label] for label in video.label)
    return data.class_names[video.label]


def _wandb_loggers(trainer: Trainer) -> list[WandbLogger]:
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return loggers if trainer.is_global_zero else []
