"""How much longer a training takes with all logs and diagnostics than with none of them.

    python scripts/bench_logging.py /tmp/logging --num_rounds 3

Trains I3D of width 16 with one non-local block on synthetic clips of 8 x 64 x 64: with W&B (offline), TensorBoard,
CSV, throughput, confusion matrix, artifacts and block diagnostics, and with none of these. The two take turns, each
training in a process of its own, of which the first epoch warms up and does not count. 4 rounds take two minutes.
"""

import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Callback

from videonl.cli import run_callbacks
from videonl.cli.main import main
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic
from videonl.training.callbacks import EvaluationLogs, Throughput

CONFIG = """
extends: {configs}/experiment/demo/nonlocal.yaml
trainer: {{max_epochs: 3, accelerator: cpu, log_every_n_steps: 10, enable_progress_bar: false, num_sanity_val_steps: 0}}
model: {{network: {{init_args: {{backbone: i3d_r50, width: 16}}}}}}
data:
  root: {data}
  clip: {{num_frames: 8, short_side_px: 64, crop_px: 64}}
  augmentation: {{short_side_px: [64, 72]}}
  loading: {{batch_size: 4, num_workers: 0}}
"""
ALL = ["--run.wandb", "offline", "--run.tensorboard", "true"]
NONE = [
    "--trainer.logger",
    "false",
    "--run.wandb",
    "disabled",
    "--run.diagnosed_clips",
    "0",
    "--run.artifacts",
    "false",
]


class Times(NamedTuple):
    """Of one training, in seconds: each step, and each epoch with its validation and all that follows it."""

    steps: list[float]
    epochs: list[float]


class Clock(Callback):
    """Notes when steps and epochs begin."""

    def __init__(self) -> None:
        self.steps: list[list[float]] = []
        self.epochs: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """A new epoch."""
        self.epochs.append(time.perf_counter())
        self.steps.append([])

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """A new step."""
        self.steps[-1].append(time.perf_counter())

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """The end of the last epoch."""
        self.epochs.append(time.perf_counter())

    def times(self) -> Times:
        """From the second epoch on."""
        steps = [after - before for epoch in self.steps[1:] for before, after in pairwise(epoch)]
        return Times(steps, [after - before for before, after in pairwise(self.epochs[1:])])


def train(config: Path, folder: Path, options: list[str]) -> Times:
    """Trains in this process."""
    torch.set_num_threads(1)
    clock, callbacks = Clock(), run_callbacks.callbacks

    def timed(*args: Any) -> list[Callback]:
        every = callbacks(*args)
        if options == NONE:
            every = [callback for callback in every if not isinstance(callback, Throughput | EvaluationLogs)]
        return [clock, *every]

    from videonl.cli import run

    run.callbacks = timed  # type: ignore[assignment]  # takes what it takes
    assert main(["fit", "--config", str(config), "--run.dir", str(folder), "--run.overwrite", "true", *options]) == 0
    return clock.times()


def apart(*args: Any) -> Times:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(train, *args).result()


def bench_logging(folder: Path, num_rounds: int = 3) -> None:
    """Prints the ratios of the times with all to those with none, and the times.

    Args:
        folder: Where the clips and the runs go.
        num_rounds: How often the two take turns.
    """
    if not (folder / "data").exists():
        write_synthetic(folder / "data", SyntheticSettings(num_train=160, num_val=32, num_test=2))
    config = folder / "bench.yaml"
    config.write_text(CONFIG.format(configs=Path(__file__).resolve().parents[1] / "configs", data=folder / "data"))
    found: dict[str, list[Times]] = {"none": [], "all": []}
    turns = [("none", NONE), ("all", ALL)]
    for _ in range(num_rounds):
        turns.reverse()  # neither is always the second
        for name, options in turns:
            found[name].append(apart(config, folder / name, options))
    for what in Times._fields:
        pairs = [[statistics.median(getattr(times, what)) for times in found[name]] for name in ("all", "none")]
        ratios = [every / none for every, none in zip(*pairs, strict=True)]
        each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        every, none = (1000 * statistics.median(values) for values in pairs)
        print(
            f"{what}: {statistics.median(ratios):.3f} (rounds: {each}); {every:.1f} ms with all, {none:.1f} with none"
        )


if __name__ == "__main__":
    auto_cli(bench_logging)
