"""What moves on a terminal while a command works is on stderr: stdout is for results."""

import sys
from pathlib import Path

import pytest

from videonl.cli.main import main

HIDE_CURSOR = "\x1b[?25l"  # what every bar and spinner begins with


@pytest.mark.parametrize(
    ("words", "result"),
    [
        (["export", "--format", "torch-export", "--out", "{out}/a.pt2"], "largest difference"),
        (["timeline", "{video}", "--stride-seconds", "0.1", "--out", "{out}/a.csv"], "windows"),
        (["predict", "{video}"], " % "),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else None,
)
def test_progress_leaves_stdout_alone(
    shallow: Path,
    clips: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    result: str,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # both streams are terminals to rich
    monkeypatch.setenv("TERM", "xterm")
    places = {"out": tmp_path, "video": next((clips / "test").glob("*/*.mp4"))}
    capfd.readouterr()
    assert main([word.format(**places) for word in words] + ["--checkpoint", str(shallow)]) == 0
    printed = capfd.readouterr()
    assert HIDE_CURSOR in printed.err and HIDE_CURSOR not in printed.out
    assert result in printed.out


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_the_bar_of_a_run_leaves_stdout_alone(
    command: str, trained: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    words = [
        "--config",
        str(trained / "config.yaml"),
        "--run.overwrite",
        "true",
        "--trainer.enable_progress_bar",
        "true",
    ]
    capfd.readouterr()
    assert main([command, *words]) == 0
    printed = capfd.readouterr()
    assert HIDE_CURSOR in printed.err and HIDE_CURSOR not in printed.out
    assert ("accuracy on " in printed.out) == (command != "predict")
