"""The folder of a run: how it is asked for, what it holds, and that nothing in it is lost."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from videonl.errors import UserError
from videonl.files import remove_unfinished, whole_file
from videonl.training.checkpoint_files import WholeCheckpoints

OWN = ("best", "last")  # checkpoints of the run's folder


@dataclass(frozen=True)
class Run:
    """Where a run is kept and who hears of it.

    Attributes:
        dir: Folder of the run: its config.yaml, checkpoints, logs and scores.
        wandb: ``online`` and ``offline`` log to Weights & Biases; ``offline`` needs no account, and ``wandb sync`` can
            send it later.
        project: Project on Weights & Biases.
        artifacts: Give Weights & Biases the list of the videos and the best checkpoint too.
        upload_limit_mb: A larger artifact is not uploaded: it is a reference to its file.
        tensorboard: Log for TensorBoard too.
        diagnosed_clips: Clips on which the blocks are looked at after each epoch; 0 looks at none.
        overwrite: Start anew in a folder that already holds a run.
        fold: Test and predict with batch norms folded into convolutions: the same scores to rounding, in less time.
        keep_memory: On CPUs, keep freed memory for the next tensors instead of giving it back to the system.
        save_every_steps: Write last.ckpt also within an epoch, after every so many steps; 0 is after epochs alone.
        films_every_epochs: Film what the blocks attend to in some validation clips after every so many epochs, into
            films/ and Weights & Biases; 0 is never.
    """

    dir: str = "runs/videonl"
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "videonl"
    artifacts: bool = True
    upload_limit_mb: float = 500
    tensorboard: bool = False
    diagnosed_clips: int = 4
    overwrite: bool = False
    fold: bool = True
    keep_memory: bool = True
    save_every_steps: int = 0
    films_every_epochs: int = 0

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
def make_free(directory: Path, overwrite: bool) -> None:
    """Sees that a new training starts in a folder without another run's results."""
    if not (directory / "config.yaml").exists():
        return
    if not overwrite:
        raise UserError(
            f"{directory} already holds a run; choose another --run.dir, resume it with --ckpt_path last, or start "
            "anew in its place with --run.overwrite true"
        )
    # Left in place, an older best.ckpt would be taken for this run's until its first validation.
    patterns = ("checkpoints/*.ckpt", "test.parquet", "test.html", "test_confusion.png", "predictions.parquet")
    for pattern in (*patterns, "tensorboard/*/events.*", "films/**/*.mp4"):
        for stale in directory.glob(pattern):
            stale.unlink()


def begin_or_resume(run: Run, asked: str | None) -> str | None:
    """The checkpoint that a training is resumed from, and a folder that is ready for it.

    ``last`` begins anew where none was written yet, so that one command starts a run and resumes it whenever it was
    killed.

    Raises:
        UserError: The folder holds another run; the checkpoint does not exist, or is gone though later ones were there.
    """
    _clear_unfinished(run)
    if asked is None:
        make_free(Path(run.dir), run.overwrite)
        return None
    if asked == "last" and not (run.checkpoints / "last.ckpt").is_file():
        _see_nothing_is_lost(run)
        make_free(Path(run.dir), overwrite=True)
        return None
    checkpoint = find_checkpoint(run, asked)
    if not belongs_to(run, asked):
        make_free(Path(run.dir), run.overwrite)
    return checkpoint


def find_checkpoint(run: Run, asked: str) -> str:
    """The checkpoint's path; ``best`` and ``last`` are those of the run's folder."""
    path = run.checkpoints / f"{asked}.ckpt" if asked in OWN else Path(asked)
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; name one by --ckpt_path, or the run's folder by --run.dir")
    return str(path)


def belongs_to(run: Run, checkpoint: str) -> bool:
    """Whether a checkpoint is the run's own, so that a training from it goes on with the run and its log."""
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
            f"{run.checkpoints} holds no last.ckpt any more, but the best.ckpt of epoch {epoch}; go on from that with "
            "--ckpt_path best, or start anew in its place with --run.overwrite true"
        )
    logging.getLogger("videonl").info("%s holds no last.ckpt yet: the training begins anew", run.checkpoints)


def _epoch_of(checkpoint: Path) -> int:
    return int(WholeCheckpoints().load_checkpoint(checkpoint, map_location="cpu")["epoch"])
