"""The loggers of every run."""

import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from videonl.cli.messages import is_verbose
from videonl.cli.run_folder import Run
from videonl.errors import UserError
from videonl.files import write_text
from videonl.training.continued_log import ContinuedCSVLogger

DATA_DIR = "WANDB_DATA_DIR"  # where wandb keeps copies of what it logs until that is sent
PROJECT = "videonl"
_DATA_DIR_GIVEN = DATA_DIR in os.environ
_log = logging.getLogger(__name__)


def loggers(run: Run, subcommand: str, continued: bool, config: Mapping[str, Any]) -> list[Logger]:
    """The loggers that a run's settings ask for.

    Args:
        run: The settings.
        subcommand: The subcommand.
        continued: Whether an earlier training in the run's folder continues.
        config: The whole configuration, which W&B shows beside a training.

    Raises:
        UserError: A logger's package is missing.
    """
    loggers: list[Logger] = [ContinuedCSVLogger(run.dir, f"logs/{subcommand}", continued)]
    if run.tensorboard:
        loggers.append(tensorboard_logger(run, subcommand))
    if run.wandb != "disabled":
        starts = subcommand == "fit" and not continued
        loggers.append(RunOnWandb(run, known_id=None if starts else run_id(run), config=config if starts else None))
    return loggers


def tensorboard_logger(run: Run, subcommand: str) -> TensorBoardLogger:
    """Writes event files to ``tensorboard/SUBCOMMAND`` in the run's folder; a resumed training adds another there."""
    try:
        return TensorBoardLogger(run.dir, name="tensorboard", version=subcommand)
    except ModuleNotFoundError as error:
        raise missing_tensorboard() from error


def missing_tensorboard() -> UserError:
    """What to do about it."""
    return UserError('logging to TensorBoard needs its package: pip install "videonl[tensorboard]"')


def run_id(run: Run) -> str | None:
    """The W&B run that the run's folder belongs to."""
    path = _id_file(run)
    return path.read_text(encoding="utf-8").strip() or None if path.is_file() else None


class RunOnWandb(WandbLogger):
    """The W&B run of a run's folder: later commands in that folder, such as a resumed training, continue it.

    With ``online`` it never prompts for a login; if W&B rejects the login or cannot be reached, it logs
    ``offline``. The environment variables of W&B, such as WANDB_PROJECT, WANDB_NAME, WANDB_DIR, WANDB_RUN_ID and
    WANDB_MODE, override defaults of the settings.

    Args:
        run: The settings.
        known_id: The W&B run to continue; None for a new one.
        config: What W&B shows as the configuration of a new run.
    """

    def __init__(self, run: Run, known_id: str | None, config: Mapping[str, Any] | None) -> None:
        # mode rather than Lightning's offline=True, which would set an environment variable for all that follows.
        mode: dict[str, Any] = {"mode": "offline"} if run.wandb == "offline" else {}
        super().__init__(
            os.environ.get("WANDB_NAME") or Path(run.dir).name,
            os.environ.get("WANDB_DIR") or run.dir,
            id=known_id or os.environ.get("WANDB_RUN_ID"),
            project=run.project or os.environ.get("WANDB_PROJECT") or PROJECT,
            config=dict(config or {}),
            settings={"silent": not is_verbose()},  # banners, and at the end curves of every number
            **mode,
        )
        del self._wandb_init["anonymous"]  # which wandb no longer knows, and says so
        self._run = run

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, started on first use."""
        if not self._experiment:
            path = _id_file(self._run)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _DATA_DIR_GIVEN:  # else in the home directory, for ever
                os.environ[DATA_DIR] = str(path.parent.resolve())
            begun = self._begun()
            write_text(path, f"{begun.id}\n")
            place = f"offline; upload it with: wandb sync {Path(begun.dir).parent}" if begun.offline else begun.url
            _log.info("W&B run: %s", place)
        return self._experiment

    def _begun(self) -> Any:
        try:
            with _nobody_to_ask():
                return super().experiment
        except Exception as error:
            if self._wandb_init.get("mode") == "offline":
                raise
            _log.warning(
                "W&B cannot be used online (%s); this run is logged offline. Log in with: wandb login; "
                "upload it later with: wandb sync %s",
                str(error).strip() or type(error).__name__,
                Path(str(self.save_dir)) / "wandb" / "offline-run-*",
            )
            self._wandb_init["mode"] = "offline"
            return super().experiment


def _id_file(run: Run) -> Path:
    return Path(run.dir) / "wandb" / "id.txt"


@contextmanager
def _nobody_to_ask() -> Iterator[None]:
    """Without a terminal, makes wandb raise instead of waiting forever for a login."""
    terminal, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = terminal
