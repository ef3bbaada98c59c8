"""A training that is killed again and again, and started by the same command, ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

StepsOf = Callable[[Path], list[dict[str, str]]]

NUM_KILLS = 10
PROCESSES = {
    1: [],
    2: ["--trainer.devices", "2", "--trainer.strategy", "ddp"],
}


@pytest.fixture
def config(small_config: Path, tmp_path: Path) -> Path:
    """Everything that draws at random, a validation after each epoch, and a checkpoint after every other step."""
    augmentation = {"color": {"brightness": 0.3}, "mixing": {"mixup_alpha": 0.5, "cutmix_alpha": 0.5}}
    path = tmp_path / "killed.yaml"
    settings = {
        "extends": str(small_config),
        "trainer": {"max_epochs": 11},
        "model": {"network": {"init_args": {"dropout": 0.5, "width": 2}}},
        "data": {"loading": {"batch_size": 2, "num_workers": 1}, "augmentation": augmentation},
        "run": {"save_every_steps": 2},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def start(config: Path, run: Path, processes: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "videonl", "fit", "--config", str(config), *PROCESSES[processes]]
    words = [*command, "--run.dir", str(run), "--ckpt_path", "last"]
    # Lightning gives each process its share of the threads, and another number of threads rounds sums differently.
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=threads, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return output


def log_of(run: Path) -> Path:
    return run / "logs" / "fit" / "version_0" / "metrics.csv"


def seconds_of_training(process: subprocess.Popen[str], run: Path) -> float:
    """How long an uninterrupted training takes from its first row to its last."""
    began = time.time()
    while process.poll() is None:
        if log_of(run).exists():
            began = time.time()
            break
        time.sleep(0.003)
    finish(process)
    return log_of(run).stat().st_mtime - began


def kill_at_random(process: subprocess.Popen[str], run: Path, chance: random.Random, seconds: float) -> bool:
    """Kills all of it, mostly within some seconds of when it logs; returns whether it had not ended before."""
    before = log_of(run).stat().st_mtime_ns if log_of(run).exists() else 0
    until = time.monotonic() + (chance.uniform(0, 20) if chance.random() < 0.2 else 120)
    while process.poll() is None and time.monotonic() < until:
        if log_of(run).exists() and log_of(run).stat().st_mtime_ns != before:
            time.sleep(chance.uniform(0, seconds))
            break
        time.sleep(0.003)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def state(checkpoint: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    # Folders differ, and what callbacks and loops keep holds paths and counts of this process; the log shows their use.
    return {name: content[name] for name in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")}


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    else:
        assert one == other


def assert_as_uninterrupted(run: Path, whole: Path, steps_of: StepsOf) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        assert_equal(state(whole / "checkpoints" / name), state(run / "checkpoints" / name))
    assert steps_of(run) == steps_of(whole)
    assert [path.name for path in (run / "logs" / "fit").iterdir()] == ["version_0"]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("processes", [1, 2])
def test_ten_kills_change_no_bit(config: Path, steps_of: StepsOf, tmp_path: Path, processes: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    seconds = seconds_of_training(start(config, whole, processes), whole)
    chance, num_kills = random.Random(processes), 0
    while num_kills < NUM_KILLS:
        process = start(config, killed, processes)
        if kill_at_random(process, killed, chance, seconds / 2):
            num_kills += 1
            last = killed / "checkpoints" / "last.ckpt"
            step = torch.load(last, weights_only=True)["global_step"] if last.exists() else 0
            print(f"kill {num_kills} in {killed.name}: last.ckpt is of step {step}")
        else:  # it was sooner at its end
            finish(process)
            assert_as_uninterrupted(killed, whole, steps_of)
            killed = tmp_path / f"killed_after_{num_kills}"
    finish(start(config, killed, processes))
    assert_as_uninterrupted(killed, whole, steps_of)
