"""Two real processes over gloo, started as a user starts them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]


def run(*words: object) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "videonl", *map(str, words)]
    # Lightning gives each process its share of the threads, and another number of threads rounds sums differently.
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=threads)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_two_processes_train_and_score_as_one(small_config: Path, tmp_path: Path) -> None:
    config, checkpoint = ["--config", small_config], tmp_path / "two" / "checkpoints" / "last.ckpt"
    run("fit", *config, *TWO, "--run.dir", tmp_path / "two")
    assert checkpoint.is_file()
    for name, options in (("two", TWO), ("one", [])):
        run("test", *config, *options, "--run.dir", tmp_path / name, "--ckpt_path", checkpoint)
    one, two = (rows_of(tmp_path / name / "test.csv") for name in ("one", "two"))
    assert len(one) == 1 + 11
    assert one == two  # every digit: a batch holds the same views whatever the number of processes
