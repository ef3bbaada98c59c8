"""Real processes over gloo, started as a user starts them: their number changes nothing."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from videonl.evaluation import read_record

DDP = ["--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]


def start(*words: object) -> subprocess.Popen[str]:
    # Lightning gives each process its share of the threads, and another number of threads rounds sums differently.
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=threads)


def finish(*processes: subprocess.Popen[str]) -> None:
    try:
        for process in processes:
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()


def score(directory: Path, number: int, *words: object) -> bytes:
    """Tests with a number of processes; returns the record and the report."""
    finish(start("videonl", "test", *words, *DDP, "--trainer.devices", number, "--run.dir", directory))
    return b"".join((directory / name).read_bytes() for name in ("test.parquet", "test.html", "test_confusion.png"))


def test_two_processes_train_and_score_as_one(small_config: Path, tmp_path: Path) -> None:
    config, run = ["--config", small_config], tmp_path / "run"
    films = ["--run.films_every_epochs", 1]
    finish(start("videonl", "fit", *config, *DDP, "--trainer.devices", 2, "--run.dir", run, *films))
    assert len(list((run / "films").glob("epoch_0000/*/res3.3.mp4"))) == 2  # while the other process goes on
    words = [*config, "--ckpt_path", run / "checkpoints" / "last.ckpt"]
    one, two = (score(tmp_path / str(number), number, *words) for number in (1, 2))
    record = read_record(tmp_path / "2" / "test.parquet")
    assert [score.video for score in record.scores] == list(range(11))
    assert all(len(score.views) == len(set(score.views)) == 6 for score in record.scores)
    assert one == two  # every byte: a batch holds the same views whatever the number of processes


@pytest.mark.slow
def test_three_processes_score_as_one(trained: Path, tmp_path: Path) -> None:
    words = ["--config", trained / "config.yaml", "--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    one, three = (score(tmp_path / str(number), number, *words) for number in (1, 3))
    assert one == three  # 11 videos are 4 + 4 + 3


@pytest.mark.slow
def test_two_nodes_write_the_same_record_as_one_process(trained: Path, tmp_path: Path) -> None:
    common = ["-m", "videonl", "test", "--config", trained / "config.yaml", *DDP]
    checkpoint = ["--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    finish(start("videonl", *common[2:], *checkpoint, "--run.dir", tmp_path / "one"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [
        start(
            *("torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 1, "--node-rank", rank),
            *("--master-addr", "127.0.0.1", "--master-port", port, *common, *checkpoint),
            *("--trainer.num_nodes", 2, "--trainer.devices", 1, "--run.dir", tmp_path / "two"),
        )
        for rank in range(2)
    ]
    finish(*nodes)
    one, two = ((tmp_path / name / "test.parquet").read_bytes() for name in ("one", "two"))
    assert one == two
