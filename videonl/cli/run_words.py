"""What a run prints at its start and at its end."""

import logging
import shlex
from pathlib import Path

from lightning.pytorch import Trainer
from rich.table import Table

from videonl.cli.run_folder import Run
from videonl.data.datamodule import ClipDataModule
from videonl.data.transforms import ClipFormat
from videonl.evaluation.about import describe_network
from videonl.evaluation.metrics import TITLES
from videonl.models import ClipClassifier
from videonl.profiling import profile_network
from videonl.terminal import Console
from videonl.training import ClipModule
from videonl.training.callbacks import BestCheckpoint

_log = logging.getLogger(__name__)
_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_LOOKED_AT = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}


def print_header(
    subcommand: str, module: ClipModule, data: ClipDataModule, folder: str, checkpoint: str | None
) -> None:
    """Prints the network, the data, and the run's folder."""
    network = module.network
    about = describe_network(network)
    blocks = "no blocks" if about["blocks"] == "none" else f"blocks: {about['blocks']}"
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    _log.info("network: %s; %s", about["backbone"], blocks)
    _log.info("parameters: %s%s", f"{num_parameters:,}", _cost(module, data.clip))
    _log.info("videos: %s; classes: %d", _counted(subcommand, data), data.num_classes)
    if subcommand == "fit" and data.multigrid.is_on:
        for line in _multigrid_lines(data):
            _log.info(line)
    if checkpoint is not None:
        _log.info("checkpoint: %s", checkpoint)
    _log.info("folder: %s", folder)


def _cost(module: ClipModule, clip: ClipFormat) -> str:
    """GMACs of one clip, from shapes alone; nothing if a network's own code does not run on shapes."""
    network, size = module.network, (clip.num_frames, clip.crop_px, clip.crop_px)
    try:
        if isinstance(network, ClipClassifier):
            rows = profile_network(network.network, network.stages, network.blocks, size)
        else:
            rows = profile_network(network, {}, {}, size)
    except Exception as error:  # a number beside the training is not to end it
        _log.debug("multiply-adds are not known: %r", error)
        return ""
    return f"; GMACs: {sum(row.macs for row in rows) / 1e9:.3g} for a clip of {' x '.join(map(str, size))}"


def _counted(subcommand: str, data: ClipDataModule) -> str:
    found = [(name, data.videos[name]) for name in _LOOKED_AT[subcommand] if name in data.videos]
    return ", ".join(f"{len(videos):,} {_SPLITS[name]}" for name, videos in found) or "none"


def _multigrid_lines(data: ClipDataModule) -> list[str]:
    """The phases of a long cycle, and when there are cycles."""
    settings, num_clips = data.multigrid, data.loading.batch_size
    phases = settings.phases(data.clip)
    ends = ", ".join(f"{100 * end:g} %" for end in settings.cycle_ends)
    cycle = [
        f"  {phase.describe(num_clips)}; learning rate x {phase.factor**settings.rate_power:.3g}"
        for phase in phases[: len(settings.long_cycle)]
    ]
    return [
        f"multigrid: long cycles that end at {ends} of the steps; clips x frames x px in equal parts:",
        *cycle,
        f"  and {phases[-1].describe(num_clips)} to the end",
    ]


def print_closing(trainer: Trainer, run: Run) -> None:
    """Prints the results of a training, and how to test it."""
    metrics = trainer.callback_metrics
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]  # set by the trainer's constructor
    best = {
        str(callback.monitor).partition("/")[2]: f"{100 * float(callback.best_model_score):.2f} %"
        for callback in callbacks
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None
    }
    console, table = Console(), Table(title=f"trained: epochs {trainer.current_epoch}, steps {trainer.global_step}")
    for column in ("", "last", "best"):
        table.add_column(column, justify="left" if not column else "right")
    if "train/loss_epoch" in metrics:
        table.add_row("training loss", f"{float(metrics['train/loss_epoch']):.3f}", "")
    for name, title in TITLES.items():
        if f"val/{name}" in metrics:
            table.add_row(f"validation {title}", f"{100 * float(metrics[f'val/{name}']):.2f} %", best.get(name, ""))
    console.print(table)
    for path in (run.checkpoints / f"{name}.ckpt" for name in ("best", "last")):
        if path.is_file():
            console.print(str(path), soft_wrap=True, highlight=False, markup=False)
    again = f"videonl test --config {shlex.quote(str(Path(run.dir) / 'config.yaml'))}"
    console.print(f"test it: {again}", soft_wrap=True, highlight=False, markup=False)
