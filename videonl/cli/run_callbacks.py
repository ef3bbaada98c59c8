"""The callbacks of every run."""

import sys
from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, RichModelSummary

from videonl.cli.messages import is_verbose
from videonl.cli.run_folder import Run
from videonl.data.datamodule import ClipDataModule
from videonl.terminal import Pace
from videonl.training.callbacks import (
    Artifacts,
    BestCheckpoint,
    BlockDiagnostics,
    Continuation,
    EndTogether,
    EvaluationLogs,
    FilmAttention,
    LastCheckpoint,
    MultigridShapes,
    ProgressLines,
    SeedSteps,
    Throughput,
    TrainingBar,
    UnfinishedScores,
    UnreadableVideos,
    ValidationViews,
    WriteScores,
)


def callbacks(
    run: Run,
    data: ClipDataModule,
    subcommand: str,
    monitor: str,
    progress: bool,
    logs: bool = True,
    checkpoint: str | None = None,
) -> list[Callback]:
    """The callbacks that every run has in addition to those of its configuration."""
    every: list[Callback] = [
        EndTogether(),
        Continuation(),
        SeedSteps(data.loading.seed),
        UnreadableVideos(data.loading.training_share),
        ValidationViews(),
        WriteScores(Path(run.dir)),
        EvaluationLogs(),
    ]
    if checkpoint is not None:  # after WriteScores: what is written is no longer unfinished
        every.append(UnfinishedScores(Path(run.dir), Path(checkpoint)))
    if "val" in data.videos:
        every.append(BestCheckpoint(run.checkpoints, f"val/{monitor}"))
    # After the best one, whose state it holds: killed between the two, a run is resumed from before both.
    every.append(LastCheckpoint(run.checkpoints / "last.ckpt", run.save_every_steps))
    if subcommand == "fit":
        every.append(Throughput())
        if logs:
            every.append(LearningRateMonitor(logging_interval="step"))
        if data.multigrid.is_on:
            every.append(MultigridShapes())
        if run.diagnosed_clips:
            every.append(BlockDiagnostics(run.diagnosed_clips))
        if run.artifacts:
            every.append(Artifacts(Path(run.dir), run.checkpoints, run.upload_limit_mb))
        if run.films_every_epochs > 0:
            every.append(FilmAttention(Path(run.dir) / "films", run.films_every_epochs))
    bar = progress and sys.stderr.isatty()
    every.append(ProgressLines(Pace() if progress and not bar else None))
    if bar:
        every.append(TrainingBar(f"val/{monitor}"))
    if is_verbose():
        every.append(RichModelSummary(max_depth=2))
    return every
