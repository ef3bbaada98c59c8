"""An interrupted training, resumed in a new process, ends with the very weights of an uninterrupted one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

INTERRUPTED = Path(__file__).with_name("interrupted.py")
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
MULTIGRID = ["--data.multigrid.cycle_ends", "[0.7]", "--data.multigrid.long_cycle", "[[0.6, 0.7071], [1, 1]]"]


def run(*words: object) -> int:
    # Lightning gives each process its share of the threads, and another number of threads rounds sums differently.
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=threads)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode


def last(run: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint


@pytest.fixture
def config(small_config: Path, tmp_path: Path) -> Path:
    """13 clips in batches of 2: 6 steps an epoch, or 3 of two processes. With everything that draws at random."""
    augmentation = {
        "color": {"brightness": 0.3},
        "rand_augment": {"num_ops": 1},
        "mixing": {"mixup_alpha": 0.5, "cutmix_alpha": 0.5},
    }
    path = tmp_path / "resume.yaml"
    settings = {
        "extends": str(small_config),
        "trainer": {"max_epochs": 2},
        "model": {"network": {"init_args": {"dropout": 0.5}}},
        "data": {"loading": {"batch_size": 2}, "augmentation": augmentation},
        "run": {"save_every_steps": 1},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.slow  # three processes each; tests/training/test_resuming.py is its quick sibling
@pytest.mark.parametrize(
    ("num_workers", "stop", "more"),
    [(0, 4, []), (2, 8, []), (1, 4, TWO), (1, 4, [*TWO, *MULTIGRID])],
    ids=["epoch 0", "epoch 1", "two", "two, multigrid"],
)
def test_resuming_in_the_middle_of_an_epoch_changes_no_bit(
    config: Path, tmp_path: Path, num_workers: int, stop: int, more: list[str]
) -> None:
    options = ["fit", "--config", config, "--data.loading.num_workers", num_workers, *more, "--run.dir"]
    assert run("-m", "videonl", *options, tmp_path / "whole") == 0
    assert run(INTERRUPTED, stop, *options, tmp_path / "parts") == 3
    assert last(tmp_path / "parts")["global_step"] == stop
    assert run("-m", "videonl", *options, tmp_path / "parts", "--ckpt_path", "last") == 0
    whole, parts = last(tmp_path / "whole"), last(tmp_path / "parts")
    assert whole["global_step"] == parts["global_step"] == (6 if more else 12)
    assert all(torch.equal(parts["state_dict"][name], weight) for name, weight in whole["state_dict"].items())
    momenta = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (whole, parts)]
    assert str(momenta[0]) == str(momenta[1])
