"""What a first run prints: a header, progress, a line an epoch, a closing table, and nothing of the libraries."""

import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videonl.cli.main import main
from videonl.cli.messages import is_verbose
from videonl.terminal import Pace

HEADER = (
    r"network: hara_r3d, width 3, depth 10; blocks: nonlocal, embedded gaussian after res3\.0",
    r"parameters: 34,988; GMACs: 0\.00415 for a clip of 5 x 31 x 31",
    r"videos: (13 training, 7 validation|7 validation|11 test); classes: 2",
    r"folder: \S+",
)
FIT = (
    *HEADER,
    r"validation scores 1 clip x 1 crop of 31 px of each video, always the same; "
    r"a test scores 2 clips x 3 crops of 31 px",
    r"validation: batch \d of \d",
    r"epoch 1 of 1: step [12] of 2, loss \d\.\d{3}",
    r"epoch 1 of 1: loss \d\.\d{3}, validation top-1 \d+\.\d %, mean class \d+\.\d %, macro F1 \d+\.\d %, \d+ s",
)
CLOSING = (
    r"\s*trained: epochs 1, steps 2\s*",
    r"[┏┡└][━┳╇┩┓─┴┘]+",
    r"┃\s+┃\s+last ┃\s+best ┃",
    r"│ training loss\s+│\s+\d\.\d{3} │\s+│",
    r"│ validation (top-1|mean class|macro F1)\s+│\s+\d+\.\d\d % │\s+(\d+\.\d\d % )?│",
    r"\S+/checkpoints/(best|last)\.ckpt",
    r"test it: videonl test --config \S+/config\.yaml",
)
CHECKPOINT = r"checkpoint: \S+/checkpoints/best\.ckpt"
TEST = (
    *HEADER,
    CHECKPOINT,
    r"test: batch \d+ of \d+",
    r"wrote the report to \S+/test\.html",
    r"wrote the scores of 11 videos to \S+/test\.parquet",
)
# That a step waits for its data is true of a few clips on a busy machine, and worth a line.
WAITED = r"warning: epoch \d waited for data for .*"
TABLE = re.compile(r"\s*accuracy on (7|11) videos\s*|[┏┡└┃│].*|Only (7|11) videos: .*")


def unexpected(text: str, allowed: tuple[str, ...]) -> list[str]:
    return [line for line in text.splitlines() if not any(re.fullmatch(kind, line) for kind in (*allowed, WAITED))]


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videonl.cli.run_callbacks.Pace", lambda: Pace(0))


@pytest.mark.usefixtures("at_every_step")
def test_every_line_of_fit_validate_and_test_is_of_a_known_kind(
    small_config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    words = ["--config", str(small_config), "--run.dir", str(tmp_path), "--trainer.enable_progress_bar", "true"]
    capfd.readouterr()
    assert main(["fit", *words]) == 0
    said = capfd.readouterr()
    assert unexpected(said.err, FIT) == []
    assert unexpected(said.out, CLOSING) == []
    for kind in FIT:
        assert re.search(f"^{kind}$", said.err, re.MULTILINE), kind
    assert len(re.findall("^epoch 1 of 1: step", said.err, re.MULTILINE)) == 2
    assert len(re.findall("^network: ", said.err, re.MULTILINE)) == 1
    for command, lines, number in (("validate", (*HEADER, CHECKPOINT, *FIT), 7), ("test", TEST, 11)):
        assert main([command, *words]) == 0
        said = capfd.readouterr()
        assert unexpected(said.err, lines) == []
        assert [line for line in said.out.splitlines() if not TABLE.fullmatch(line)] == []
        assert f"accuracy on {number} videos" in said.out
    # Lightning's log is bound to the stderr of when it was imported.
    assert [record.getMessage() for record in caplog.records if record.name.startswith("lightning")] == []


@pytest.mark.filterwarnings("default")
def test_verbose_brings_the_libraries_words_back(
    videonl: Callable[..., Any], small_config: Path, tmp_path: Path
) -> None:
    words = ["--config", small_config, "--run.dir", tmp_path, "--trainer.fast_dev_run", "true"]
    said = videonl("fit", *words, "--verbose")
    assert said.code == 0, said.text
    assert is_verbose()
    assert logging.getLogger("lightning.pytorch").level == logging.INFO
    assert "Total params" in said.text
    said = videonl("fit", "--verbose=false", *words)
    assert said.code == 0, said.text
    assert not is_verbose()
    assert logging.getLogger("lightning.pytorch").level == logging.WARNING
    assert "Total params" not in said.text


@pytest.mark.parametrize("command", ["models", "report"])
def test_every_command_takes_verbose(videonl: Callable[..., Any], command: str) -> None:
    assert videonl(command, "--verbose", "--help").code == 0
    assert is_verbose()


def test_without_validation_videos_that_can_be_read_they_are_named(
    videonl: Callable[..., Any], small_config: Path, clips: Path, tmp_path: Path
) -> None:
    broken = [tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4")]
    for path in broken:
        path.write_bytes(b"this is no video" * 97)
    listed = tmp_path / "val.csv"
    listed.write_text("".join(f"{path},sum_{number % 2}\n" for number, path in enumerate(broken)))
    for sanity_steps in (2, 0):  # before the first epoch where all of them are looked at there, else after it
        words = ["--run.dir", tmp_path / str(sanity_steps), "--trainer.num_sanity_val_steps", sanity_steps]
        said = videonl("fit", "--config", small_config, "--data.val", listed, *words)
        assert said.code == 2
        assert "none of the 3 validation videos could be read" in said.text
        assert all(f"{path}: " in said.text for path in broken)
        assert "Traceback" not in said.text
        assert "monitor" not in said.text
    some = [*broken, *sorted((clips / "val").glob("*/*.mp4"))]  # the check before the training meets the broken alone
    listed.write_text("".join(f"{path},sum_{number % 2}\n" for number, path in enumerate(some)))
    said = videonl("fit", "--config", small_config, "--data.val", listed, "--run.dir", tmp_path / "some")
    assert said.code == 0, said.text


@pytest.mark.slow
def test_on_a_terminal_there_is_a_bar_and_nothing_of_the_libraries(small_config: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["fit", "--config", str(small_config), "--run.dir", str(tmp_path), "--run.wandb", "offline"]
    words += ["--trainer.enable_progress_bar", "true"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "videonl", *words]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as running:
        os.close(theirs)
        said = b""
        while chunk := _read(ours):
            said += chunk
    os.close(ours)
    assert running.returncode == 0, said
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    assert re.search(r"Epoch 0/0 +━+ 2/2", text), text
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    bars = r"(Epoch \d/\d|Validation|Sanity Checking)\b.*"
    wandb = r"W&B run: offline; upload it with: wandb sync \S+"
    assert [line for line in lines if unexpected(line, (*FIT, *CLOSING, bars, wandb, "[─-╿].*"))] == []
    assert sum(line.startswith("epoch 1 of 1: loss") for line in lines) == 1
    assert "epoch 1 of 1: step" not in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""
