"""Ctrl-C, which a terminal sends to every process of a command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from videonl.training import ClipModule

Videonl = Callable[..., Any]

# Even where these tests run in the background of a shell, which lets Ctrl-C be ignored.
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from videonl.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def processes(session: int) -> list[str]:
    """The command lines of the processes of a session."""
    lines = subprocess.run(["ps", "-eo", "sess,stat,args"], capture_output=True, text=True, check=True).stdout
    fields = [line.split(maxsplit=2) for line in lines.splitlines()[1:]]
    return [command for number, state, command in fields if number == str(session) and not state.startswith("Z")]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such server elsewhere")
@pytest.mark.parametrize(("command", "code"), [("index", 130), pytest.param("fit", 130, marks=pytest.mark.slow)])
def test_while_the_workers_start(command: str, code: int, small_config: Path, clips: Path, tmp_path: Path) -> None:
    words: dict[str, list[object]] = {
        "index": [clips, "-o", tmp_path / "index.parquet"],
        "fit": ["--config", small_config, "--data.loading.num_workers", 1, "--run.dir", tmp_path / "run"],
    }
    started = subprocess.Popen(
        [sys.executable, "-c", MAIN, command, *map(str, words[command])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        while not any("multiprocessing.forkserver" in command for command in processes(started.pid)):
            assert started.poll() is None
            time.sleep(0.03)
        time.sleep(0.3)  # it is importing
        os.killpg(started.pid, signal.SIGINT)
        output, _ = started.communicate(timeout=60)
        assert started.returncode == code, output
        assert "nterrupt" in output
        assert "Traceback" not in output
        time.sleep(0.3)
        assert not processes(started.pid)
    finally:
        if processes(started.pid):
            os.killpg(started.pid, signal.SIGKILL)


def tell(number: int, *_: object, **__: object) -> None:
    """As if another process had sent the signal."""
    os.kill(os.getpid(), number)


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        *(("fit", *ended) for ended in SIGNALS),
        *(("validate", *SIGNALS[1]), ("test", *SIGNALS[0]), ("predict", *SIGNALS[1])),
    ],
)
def test_a_trainer_ends_with_the_code_of_its_signal(
    videonl: Videonl,
    trained: Path,
    small_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    number: int,
    code: int,
) -> None:
    words = ["--config", small_config, "--run.dir", tmp_path / "run"]
    if command != "fit":
        words += ["--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    step = "train" if command == "fit" else "validation" if command == "validate" else command
    monkeypatch.setattr(ClipModule, f"on_{step}_batch_start", partial(tell, number))
    ended = videonl(command, *words)
    assert ended.code == code, ended.text
    assert ("nterrupted" if code == 130 else "terminated") in ended.text
    assert not list((tmp_path / "run").glob("*.parquet"))
    assert not list((tmp_path / "run").glob(".*"))  # of locks
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_training_that_is_told_to_end_within_its_last_step_has_not_succeeded(
    videonl: Videonl, small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClipModule, "on_train_end", partial(tell, signal.SIGTERM))
    command = ["fit", "--config", small_config, "--run.dir", tmp_path / "run"]
    assert videonl(*command).code == 143
    monkeypatch.undo()
    resumed = videonl(*command, "--ckpt_path", "last")
    assert resumed.code == 0, resumed.text  # all was saved


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_other_commands_end_with_the_code_of_their_signal(
    videonl: Videonl,
    trained: Path,
    shallow: Path,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: int,
) -> None:
    traced = ["--checkpoint", shallow, "--format", "torch-export"]
    own = ["--checkpoint", trained / "checkpoints" / "best.ckpt"]
    for place, function, words in (
        ("models.export", "_compare", ["export", *traced, "--out", tmp_path / "net.pt2"]),
        ("cli.evaluate", "score_videos", ["evaluate", *own, "--source", clips / "test", "--out", tmp_path]),
        ("data.indexing.examine", "_row", ["index", clips / "val", "--out", tmp_path / "i.parquet"]),
    ):
        monkeypatch.setattr(f"videonl.{place}.{function}", partial(tell, number))
        ended = videonl(*words)
        assert ended.code == code, ended.text
        assert "Traceback" not in ended.text
    # What goes on when it is asked again; no half a file, no lock.
    assert {path.name for path in tmp_path.iterdir()} == {"evaluation.part", "i.parquet.part.jsonl"}
