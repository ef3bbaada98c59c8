"""Which cells are run, in real processes that stand in for trainings."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from videonl.files import locked
from videonl.study import Cell, StudyFolder, running
from videonl.study.running import Ended, Runner, environment, visible_gpus

Run = Callable[..., Ended]


def cells(**does: str) -> list[Cell]:
    return [Cell(name, 0, {"does": how}) for name, how in does.items()]


def calls(folder: StudyFolder) -> list[str]:
    path = folder.path / "calls.txt"
    return [" ".join(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def run(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Run:
    monkeypatch.setattr(running, "PROGRAM", Path(__file__).with_name("imitation.py"))
    monkeypatch.setattr(running, "_POLL_SECONDS", 0.01)

    def start(planned: list[Cell], jobs: int = 1) -> Ended:
        return Runner(folder, "blocks", jobs, said.append).run(planned)

    return start


def test_every_cell_is_trained_and_tested_once(run: Run, folder: StudyFolder, said: list[str]) -> None:
    planned = cells(a="well", b="well")
    assert run(planned).finished == ["a-seed0", "b-seed0"]
    once = [
        f"{stage} {cell}-seed0 {rest}"
        for cell in "ab"
        for stage, rest in (("fit", "--ckpt_path last"), ("test", "--trust-code"))
    ]
    assert calls(folder) == once
    assert run(planned).finished == ["a-seed0", "b-seed0"]
    assert calls(folder) == once
    assert said[-1] == "b-seed0: is finished already (2 of 2)"


def test_a_failed_cell_is_named_and_tried_again(run: Run, folder: StudyFolder, said: list[str]) -> None:
    planned = cells(a="fail in fit", b="fail in test", c="leave no record", d="well")
    ended = run(planned, jobs=2)
    assert ended.finished == ["d-seed0"]
    assert ended.failed.keys() == {"a-seed0", "b-seed0", "c-seed0"}
    reason = ended.failed["a-seed0"]
    assert reason.startswith("videonl fit ended with exit code 3")
    assert str(folder.of(planned[0]).path / "fit.log") in reason
    assert reason.endswith("the last words")
    assert "what came before" not in reason  # the end of the log alone
    assert folder.of(planned[0]).state == "failed"
    assert folder.of(planned[0]).progress.reason == reason
    assert any("a-seed0: failed" in line for line in said)
    assert run(cells(a="well", b="well", c="well", d="well")).failed == {}
    stages = [call.split()[0] for call in calls(folder) if call.split()[1] == "b-seed0"]
    assert stages == ["fit", "test", "test"]  # its training is not repeated


def test_an_interrupted_training_is_resumed(run: Run, folder: StudyFolder, said: list[str]) -> None:
    (cell,) = cells(a="well")
    (folder.of(cell).path / "checkpoints").mkdir(parents=True)
    (folder.of(cell).path / "checkpoints" / "last.ckpt").touch()
    assert run([cell]).finished == ["a-seed0"]
    assert said[0].startswith("a-seed0: is resumed; its log is ")


def test_a_cell_that_another_process_runs_is_left_to_it(run: Run, folder: StudyFolder) -> None:
    planned = cells(a="well", b="well")
    with locked(folder.of(planned[0]).lock, "held"):
        ended = run(planned)
    assert (ended.elsewhere, ended.finished) == (["a-seed0"], ["b-seed0"])
    assert all("a-seed0" not in call for call in calls(folder))


def test_two_runners_share_the_cells_of_one_folder(run: Run, folder: StudyFolder) -> None:
    planned = cells(**dict.fromkeys("abcdefg", "well"))
    endings: list[Ended] = []
    threads = [threading.Thread(target=lambda: endings.append(run(planned, jobs=2))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(calls(folder)) == sorted({*calls(folder)})  # nothing was run twice
    assert len(calls(folder)) == 14
    assert all(folder.of(cell).is_finished for cell in planned)


def test_jobs_run_at_once(run: Run, folder: StudyFolder) -> None:
    planned = cells(a="sleep in fit", b="sleep in fit", c="well")
    others = [folder.of(cell).path / "asleep" for cell in planned[:2]]

    def interrupt() -> None:
        while not all(path.exists() for path in others):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(planned, jobs=2)
    thread.join()
    for cell in planned[:2]:
        assert (folder.of(cell).path / "told").read_text() == str(int(signal.SIGTERM))
        assert folder.of(cell).state == "interrupted"
        assert not folder.of(cell).lock.exists()
    assert not folder.of(planned[2]).path.exists()


def test_those_that_do_not_end_are_killed(run: Run, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.1)
    (stubborn,) = cells(a="well")
    started = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert started.stdout is not None and started.stdout.readline()
    monkeypatch.setattr(running.subprocess, "Popen", lambda *args, **options: started)

    runner = Runner(folder, "blocks", 1, lambda text: None)
    runner._begin(stubborn)
    runner._end_all()
    assert started.poll() == -signal.SIGKILL
    started.stdout.close()


def test_the_environment_of_a_cell(run: Run, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_RUN_ID", "WANDB_NAME", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    (cell,) = cells(a="well")
    run([cell])
    lines = (folder.of(cell).path / "fit.environment").read_text().splitlines()
    assert {"WANDB_RUN_GROUP=blocks", f"VIDEONL_STARTER={os.getpid()}"} <= {*lines}
    assert not any(line.startswith(("WANDB_RUN_ID=", "WANDB_NAME=", "LOCAL_RANK=")) for line in lines)


def test_jobs_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert environment({}, "blocks", 2)["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert "OMP_NUM_THREADS" not in environment({}, "blocks", 1)
    known = {"OMP_NUM_THREADS": "7", "WANDB_RUN_GROUP": "mine"}
    own: Mapping[str, str] = environment(known, "blocks", 2)
    assert (own["OMP_NUM_THREADS"], own["WANDB_RUN_GROUP"]) == ("7", "mine")


def test_jobs_take_the_gpus_in_turn(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert visible_gpus(os.environ) == ["2", "5"]
    runner = Runner(folder, "blocks", 3, lambda text: None)
    one, two = (Cell("a", 0, {"trainer": {"devices": devices}}) for devices in (1, 2))
    assert [runner._environment(one, slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["2", "5", "2"]
    assert runner._environment(two, 1)["CUDA_VISIBLE_DEVICES"] == "2,5"
