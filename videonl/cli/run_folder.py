"""The folder of a run: its settings, its content, and checks that nothing in it is lost."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from videonl.data.loader import MOST_CLIPS
from videonl.errors import UserError, require_within
from videonl.files import remove_unfinished, whole_file
from videonl.outputs import refuse_inputs
from videonl.training.checkpoint_files import WholeCheckpoints

OWN = ("best", "last")  # checkpoints of the run's folder
# What a run leaves beside its configuration and log.
_WRITTEN = (
    *(f"checkpoints/{name}.ckpt" for name in OWN),
    *("test.parquet", "test.html", "test_confusion.png", "predictions.parquet", "test.part", "predict.part"),
    *("tensorboard/*/events.out.tfevents.*", "films/epoch_[0-9]*/*/*.mp4"),
)
_SAVED_OF_A_RUN = ("dir", "wandb", "project", "artifacts", "upload_limit_mb", "tensorboard", "overwrite")


@dataclass(frozen=True)
class Run:
    """Where a run is stored and logged.

    Attributes:
        dir: Folder of the run: its config.yaml, checkpoints, logs and scores. By default it follows from the
            configuration's path: that of experiment/ucf101/i3d_r50.yaml is runs/ucf101/i3d_r50.
        wandb: ``online`` and ``offline`` log to Weights & Biases; ``offline`` needs no account, and ``wandb sync`` can
            upload it later. ``off``, which YAML reads as false, is ``disabled``.
        project: Project on Weights & Biases. By default WANDB_PROJECT, or ``videonl``.
        artifacts: Also upload the list of the videos and the best checkpoint to Weights & Biases.
        upload_limit_mb: A larger artifact is not uploaded, but stored as a reference to its file.
        tensorboard: Log for TensorBoard too.
        diagnosed_clips: Clips on which the blocks are measured after each epoch; 0 turns this off.
        overwrite: Start from scratch in a folder that already holds a run.
        fold: Test and predict with batch norms folded into convolutions: the same scores up to rounding, in less time.
        keep_memory: On CPUs, keep freed memory for the next tensors instead of returning it to the system.
        save_every_steps: Also write last.ckpt within an epoch, after this many steps; 0 writes it only after epochs.
        films_every_epochs: Film what the blocks attend to in some validation clips every so many epochs, into
            films/ and Weights & Biases; 0 turns this off.
    """

    dir: str = "runs/videonl"
    wandb: Literal["disabled", "offline", "online", False] = "disabled"
    project: str | None = None
    artifacts: bool = True
    upload_limit_mb: float = 500
    tensorboard: bool = False
    diagnosed_clips: int = 4
    overwrite: bool = False
    fold: bool = True
    keep_memory: bool = True
    save_every_steps: int = 0
    films_every_epochs: int = 0

    def __post_init__(self) -> None:
        if not self.dir.strip():
            raise UserError("run.dir must name a folder; give --run.dir FOLDER")
        if self.wandb is False:
            object.__setattr__(self, "wandb", "disabled")
        require_within(0, upload_limit_mb=self.upload_limit_mb)
        require_within(0, MOST_CLIPS, diagnosed_clips=self.diagnosed_clips)
        require_within(
            0, sys.maxsize, save_every_steps=self.save_every_steps, films_every_epochs=self.films_every_epochs
        )

    @property
    def checkpoints(self) -> Path:
        """Folder of best.ckpt and last.ckpt."""
        return Path(self.dir) / "checkpoints"


class SaveRunConfig(SaveConfigCallback):
    """Saves the whole configuration of a training as config.yaml in the run's folder."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes config.yaml, from which the run can be repeated, resumed and evaluated."""
        if stage != "fit":
            return
        config = self.config.clone()
        # What was said about this start alone: kept, it would make a later fit resume and a later test miss the best.
        config.ckpt_path = None
        config.run.overwrite = False
        path = Path(config.run.dir) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(self.parser.dump(config, skip_none=False).encode())


@rank_zero_only
def make_free(run: Run, replaces: bool, weights: str | None = None) -> None:
    """Checks that the folder of a new training holds no results of another run and no other files of these names.

    Args:
        run: The run.
        replaces: Whether the new run may replace an earlier run.
        weights: The initial weights of the new training.

    Raises:
        UserError: The folder holds another run, or files of these names that videonl did not write.
    """
    first = [Path(run.dir) / "config.yaml", *(run.checkpoints / f"{name}.ckpt" for name in OWN)]
    written = [path for path in first if path.exists()]
    for path in written:
        if not _is_ours(path):
            raise UserError(f"{path} was not written by a run of videonl, and would be lost; choose another --run.dir")
    if written and not (replaces or run.overwrite):
        raise UserError(
            f"{run.dir} already holds a run; choose another --run.dir, resume it with --ckpt_path last, or start "
            "from scratch in the same folder with --run.overwrite true"
        )
    refuse_inputs(written, [Path(weights)] if weights else [])
    if written and run.overwrite:
        # Left in place, an older best.ckpt would be taken for this run's until its first validation.
        for pattern in _WRITTEN:
            for stale in Path(run.dir).glob(pattern):
                stale.unlink()


def _is_ours(path: Path) -> bool:
    """Whether a run of videonl wrote a configuration or checkpoint, judged by its content."""
    try:
        if path.suffix == ".ckpt":
            return "videonl" in _content_of(path)
        content = yaml.safe_load(path.read_text())
        return {"seed_everything", "ckpt_path", *_SAVED_OF_A_RUN} <= {*content, *content["run"]}
    except Exception:  # it may be anything
        return False


def begin_or_resume(run: Run, asked: str | None, weights: str | None = None) -> str | None:
    """Finds the checkpoint to resume from, and prepares the folder.

    ``last`` starts from scratch if there is no checkpoint yet, so that one command starts a run and resumes it. Only
    files that a run of videonl wrote are deleted, and only with ``run.overwrite``.

    Args:
        run: The run.
        asked: The requested checkpoint.
        weights: The initial weights of a new training.

    Raises:
        UserError: The folder holds another run; the checkpoint does not exist, or was deleted.
    """
    _clear_unfinished(run)
    if asked is None:
        make_free(run, replaces=False, weights=weights)
        return None
    if asked == "last" and not (run.checkpoints / "last.ckpt").is_file():
        make_free(run, replaces=True, weights=weights)
        _see_nothing_is_lost(run)
        return None
    checkpoint = find_checkpoint(run, asked)
    if not belongs_to(run, asked):
        make_free(run, replaces=False)
    return checkpoint


def goes_on(run: Run, asked: str | None) -> bool:
    """Whether a training from the requested checkpoint continues the run's log.

    A training that was killed before its first checkpoint writes its rows again; other logs are left alone.
    """
    if asked is None or not belongs_to(run, asked):
        return False
    is_begun = (run.checkpoints / "last.ckpt").is_file() or asked != "last"
    return is_begun or _is_ours(Path(run.dir) / "config.yaml") or not any(Path(run.dir).glob("logs/fit/*/metrics.csv"))


def find_checkpoint(run: Run, asked: str) -> str:
    """The checkpoint's path; ``best`` and ``last`` are those of the run's folder."""
    path = run.checkpoints / f"{asked}.ckpt" if asked in OWN else Path(asked)
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; set --ckpt_path, or the run's folder with --run.dir")
    return str(path)


def belongs_to(run: Run, checkpoint: str) -> bool:
    """Whether a checkpoint belongs to the run, so that a training from it continues the run and its log."""
    return checkpoint in OWN or Path(checkpoint).resolve().parent == run.checkpoints.resolve()


@rank_zero_only
def _clear_unfinished(run: Run) -> None:
    for folder in (Path(run.dir), run.checkpoints, *Path(run.dir).glob("logs/fit/*")):
        remove_unfinished(folder)


@rank_zero_only
def _see_nothing_is_lost(run: Run) -> None:
    best = run.checkpoints / "best.ckpt"
    # A first epoch's may have been written just before the training was killed, a later one's only after last.ckpt.
    if not run.overwrite and best.is_file() and (epoch := _epoch_of(best)) > 0:
        raise UserError(
            f"{run.checkpoints} has no last.ckpt any more, only the best.ckpt of epoch {epoch}; resume from it with "
            "--ckpt_path best, or start from scratch in the same folder with --run.overwrite true"
        )
    logging.getLogger("videonl").info("%s has no last.ckpt yet: starting from scratch", run.checkpoints)


def _epoch_of(checkpoint: Path) -> int:
    return int(_content_of(checkpoint)["epoch"])


def _content_of(checkpoint: Path) -> dict[str, Any]:
    content: dict[str, Any] = WholeCheckpoints().load_checkpoint(checkpoint, map_location="cpu")
    return content
