"""Real processes over gloo, started as a user starts them: their number changes nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.evaluation import read_record

DDP = ["--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]


def start(*words: object, **variables: str) -> subprocess.Popen[str]:
    # Lightning gives each process its share of the threads, and another number of threads rounds sums differently.
    threads = os.environ | {"OMP_NUM_THREADS": "1"} | variables
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
    return written(directory)


def written(directory: Path) -> bytes:
    return b"".join((directory / name).read_bytes() for name in ("test.parquet", "test.html", "test_confusion.png"))


def test_two_processes_score_as_one(videonl: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    words = ["--config", trained / "config.yaml", "--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    torch.set_num_threads(1)  # the fixture sets them back
    assert videonl("test", *words, "--run.dir", tmp_path / "1").code == 0
    one, two = written(tmp_path / "1"), score(tmp_path / "2", 2, *words)
    record = read_record(tmp_path / "2" / "test.parquet")
    assert [score.video for score in record.scores] == list(range(11))  # 6 + 5
    assert all(len(score.views) == len(set(score.views)) == 6 for score in record.scores)
    assert one == two  # every byte: a batch holds the same views whatever the number of processes


@pytest.mark.slow
def test_two_processes_train_and_three_score_as_one(small_config: Path, tmp_path: Path) -> None:
    config, run = ["--config", small_config], tmp_path / "run"
    films = ["--run.films_every_epochs", 1]
    finish(start("videonl", "fit", *config, *DDP, "--trainer.devices", 2, "--run.dir", run, *films))
    assert len(list((run / "films").glob("epoch_0000/*/res3.0.mp4"))) == 2  # while the other process goes on
    words = [*config, "--ckpt_path", run / "checkpoints" / "last.ckpt"]
    one, three = (score(tmp_path / str(number), number, *words) for number in (1, 3))
    record = read_record(tmp_path / "3" / "test.parquet")
    assert [score.video for score in record.scores] == list(range(11))  # 4 + 4 + 3
    assert all(len(score.views) == len(set(score.views)) == 6 for score in record.scores)
    assert one == three


@pytest.mark.slow
def test_one_process_has_no_video_to_validate(small_config: Path, tmp_path: Path) -> None:
    config = ["--config", small_config, "--data.loading.batch_size", 7, "--run.dir", tmp_path]  # all 7 in one batch
    finish(start("videonl", "fit", *config, *DDP, "--trainer.devices", 2))
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def two_nodes(*words: object) -> list[subprocess.Popen[str]]:
    """Both machines' torchrun, with one process each."""
    address = ["--master-addr", "127.0.0.1", "--master-port", free_port()]
    return [
        start(
            *("torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 1, "--node-rank", rank, *address),
            *("-m", "videonl", *words, *DDP, "--trainer.num_nodes", 2, "--trainer.devices", 1),
        )
        for rank in range(2)
    ]


def two_tasks(*words: object) -> list[subprocess.Popen[str]]:
    """Two tasks on one node, with what ``srun`` sets."""
    job = {"JOB_ID": str(free_port()), "JOB_NAME": "train", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NNODES": "1"}
    node = {"JOB_NODELIST": "localhost", "NODELIST": "localhost", "NODEID": "0"}
    tasks = []
    for rank in range(2):
        task = job | node | {"PROCID": str(rank), "LOCALID": str(rank)}
        variables = {f"SLURM_{name}": value for name, value in task.items()}
        tasks.append(start("videonl", *words, *DDP, "--trainer.devices", 2, **variables))
    return tasks


@pytest.mark.slow
def test_two_nodes_write_the_same_record_as_one_process(trained: Path, tmp_path: Path) -> None:
    words = ["test", "--config", trained / "config.yaml", "--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    finish(start("videonl", *words, "--run.dir", tmp_path / "one"))
    finish(*two_nodes(*words, "--run.dir", tmp_path / "two"))
    one, two = ((tmp_path / name / "test.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("launch", [two_nodes, two_tasks])
def test_nodes_and_tasks_train_as_processes_of_one_command(
    small_config: Path,
    steps_of: Callable[[Path], list[dict[str, str]]],
    tmp_path: Path,
    launch: Callable[..., list[subprocess.Popen[str]]],
) -> None:
    words = ["fit", "--config", small_config, "--ckpt_path", "last", "--run.dir"]
    finish(start("videonl", *words, tmp_path / "one", *DDP, "--trainer.devices", 2))
    finish(*launch(*words, tmp_path / "two"))
    one, two = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    )
    assert all(torch.equal(two[name], weight) for name, weight in one.items())
    assert steps_of(tmp_path / "one") == steps_of(tmp_path / "two")
