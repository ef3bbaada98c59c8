"""A process that dies or fails ends the others soon, with the reason, and nothing of them is left."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from videonl.runtime.watch import GONE

FAILING = Path(__file__).with_name("failing.py")
_RUN = "VIDEONL_TESTED_RUN"


def start(run: Path, *words: object) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", _RUN: str(run)}
    command = [sys.executable, "-W", "ignore", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def start_node(run: Path, rank: int, num_nodes: int, port: int, *words: object) -> subprocess.Popen[str]:
    """One machine's torchrun with one process, or the only machine's with two."""
    nodes = ["--nnodes", num_nodes, "--node-rank", rank, "--master-addr", "127.0.0.1", "--master-port", port]
    return start(run, "-m", "torch.distributed.run", *nodes, "--nproc-per-node", 2 // num_nodes, *words)


def running(run: Path) -> list[str]:
    """The processes of a run: ids, and what they are."""
    # With their environment, because the arguments of a loader's workers do not name the run.
    words = ["ps", "axeww", "-o", "pid,args"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line[:100] for line in lines if f"{_RUN}={run}" in line]


def end_of(run: Path, *processes: subprocess.Popen[str]) -> tuple[str, list[int], float]:
    """All output, the exit codes, and how many seconds after the failure the last process had ended."""
    try:
        try:
            output = "".join(process.communicate(timeout=280)[0] for process in processes)
        except subprocess.TimeoutExpired as late:
            raise AssertionError("\n".join([f"after {late.timeout} s there are still:", *running(run)])) from late
        failed_at = re.search(r"failed at ([\d.]+)", output)
        assert failed_at, output
        while running(run) and time.time() < float(failed_at[1]) + 60:
            time.sleep(0.1)
        seconds = time.time() - float(failed_at[1])
        assert not running(run)
        return output, [process.returncode for process in processes], seconds
    finally:
        for line in running(run):
            os.kill(int(line.split()[0]), signal.SIGKILL)
        for process in processes:
            process.wait()
            process.stdout.close()


def options(config: Path, run: Path, processes: int) -> list[object]:
    ddp = ["--trainer.strategy", "ddp", "--trainer.devices", processes]
    loading = ["--data.loading.batch_size", 1, "--data.loading.num_workers", 1]
    return ["fit", "--config", config, *ddp, *loading, "--run.dir", run]


@pytest.mark.parametrize(
    ("how", "processes", "rank"),
    [
        ("death", 2, 1),
        pytest.param("death", 2, 0, marks=pytest.mark.slow),
        pytest.param("death", 3, 2, marks=pytest.mark.slow),
        pytest.param("mistake", 3, 0, marks=pytest.mark.slow),
        pytest.param("mistake", 3, 1, marks=pytest.mark.slow),
    ],
)
def test_the_others_end_with_the_reason(c2d_config: Path, tmp_path: Path, how: str, processes: int, rank: int) -> None:
    run = tmp_path / "run"
    words = options(c2d_config, run, processes)
    output, codes, seconds = end_of(run, start(run, FAILING, how, rank, *words))
    assert seconds < 30
    if how == "mistake":
        assert codes == [2]
        assert "videonl: error: a mistake in one process" in output
        assert f"process {rank} of {processes} failed: a mistake in one process" in output
        assert "Traceback" not in output
    else:
        assert codes == [-signal.SIGKILL if rank == 0 else 1]
        assert f"videonl: error: process {rank} of {processes} {GONE}" in output


@pytest.mark.slow
@pytest.mark.parametrize("num_nodes", [1, 2])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", ["death", "mistake"])
def test_the_others_end_on_every_machine(c2d_config: Path, tmp_path: Path, how: str, rank: int, num_nodes: int) -> None:
    run = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [FAILING, how, rank, *options(c2d_config, run, 2 // num_nodes), "--trainer.num_nodes", num_nodes]
    nodes = [start_node(run, node, num_nodes, port, *words) for node in range(num_nodes)]
    output, codes, seconds = end_of(run, *nodes)
    assert seconds < 60
    assert all(codes)
    reason = GONE if how == "death" else "failed: a mistake in one process"
    assert f"videonl: error: process {rank} of 2 {reason}" in output


SIGNALS = [
    *(("fit", how, rank) for how in ("SIGTERM", "SIGTERM-all", "SIGINT", "SIGINT-all") for rank in (0, 1)),
    *((command, how, 1) for command in ("validate", "test", "predict") for how in ("SIGTERM", "SIGINT-all")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "how", "late"), SIGNALS)
def test_a_signal_ends_all_processes_with_its_code(
    c2d_config: Path, small_config: Path, trained: Path, tmp_path: Path, command: str, how: str, late: int
) -> None:
    run, code = tmp_path / "run", 128 + signal.Signals[how.partition("-")[0]]
    config = c2d_config if command == "fit" else small_config  # which is that of the trained network
    words = [command, *options(config, run, 2)[1:], "--data.loading.num_workers", 0]
    if command != "fit":
        words += ["--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    output, codes, seconds = end_of(run, start(run, FAILING, how, late, *words))
    assert codes == [code], output
    assert seconds < 30
    assert "Traceback" not in output, output
    assert ("interrupted" if code == 130 else "terminated") in output
