"""The loggers of every run."""

from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from videonl.cli.run_folder import Run


def loggers(run: Run, subcommand: str) -> list[Logger]:
    """The loggers that a run's settings ask for."""
    loggers: list[Logger] = [CSVLogger(run.dir, name=f"logs/{subcommand}")]
    if run.wandb != "disabled":
        loggers.append(
            WandbLogger(name=Path(run.dir).name, project=run.project, save_dir=run.dir, offline=run.wandb == "offline")
        )
    return loggers
