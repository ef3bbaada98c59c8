"""The loggers of every run."""

from pathlib import Path

from lightning.pytorch.loggers import Logger, WandbLogger

from videonl.cli.run_folder import Run
from videonl.training.continued_log import ContinuedCSVLogger


def loggers(run: Run, subcommand: str, continued: bool = False) -> list[Logger]:
    """The loggers that a run's settings ask for; ``continued`` where a training goes on in its own folder."""
    loggers: list[Logger] = [ContinuedCSVLogger(run.dir, f"logs/{subcommand}", continued)]
    if run.wandb != "disabled":
        loggers.append(
            WandbLogger(name=Path(run.dir).name, project=run.project, save_dir=run.dir, offline=run.wandb == "offline")
        )
    return loggers
