"""``videonl stream``: what it prints, and how it ends."""

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.small_weights import CLASS_NAMES
from videonl.cli import stream as command
from videonl.inference import Stream
from videonl.terminal import Console

Videonl = Callable[..., Any]


@pytest.fixture
def clip(encode_video: Callable[..., Path], tmp_path: Path) -> Path:
    return encode_video(tmp_path / "clip.ts", num_frames=31)


def test_json_lines(weights: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command.parse(
        [str(clip), "--checkpoint", str(weights), "--format", "jsonl", "--realtime", "false", "--stride_seconds=0.25"]
    )
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [round(line["time_seconds"] * 24) for line in lines] == [8, 14, 20, 26]
    assert [round(line["start_seconds"] * 24) for line in lines] == [0, 6, 12, 18]
    assert {len(line["top"]) for line in lines} == {3}
    assert all(best["class"] in CLASS_NAMES and 0 < best["probability"] < 1 for best in lines[0]["top"])
    assert lines[-1]["dropped_frames"] == lines[-1]["skipped_clips"] == lines[-1]["reconnects"] == 0


def test_text_is_a_line_for_each_prediction_and_a_summary(videonl: Videonl, weights: Path, clip: Path) -> None:
    ran = videonl("stream", "--checkpoint", weights, "--realtime", "false", clip, "--top", 1)
    assert ran.code == 0, ran.text
    assert (
        "clips of 5 frames x stride 2, short side 37 px; the first prediction follows the first whole clip" in ran.text
    )
    assert "31 frames, 2 predictions, " in ran.text
    assert "0 clips skipped, 0 frames dropped, 0 reconnects" in ran.text
    assert ran.text.count(" ms late ") == 3


def test_a_terminal_has_one_line_that_is_kept_up_to_date(
    weights: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(command, "Console", lambda: Console(file=screen, force_terminal=True, width=90))
    command.parse([str(clip), "--checkpoint", str(weights), "--realtime", "false", "--stride_seconds", "0.25"])
    assert screen.getvalue().count(" ms late") == 5  # four predictions, and the last one again when it is left
    assert screen.getvalue().count("\n") == 1


def captures() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "videonl-capture"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_a_summary(
    videonl: Videonl, weights: Path, tmp_path: Path, number: int, code: int
) -> None:
    os.mkfifo(tmp_path / "pipe")

    def send() -> None:
        while not captures():
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    ended = videonl("stream", tmp_path / "pipe", "--checkpoint", weights)
    assert ended.code == code
    assert "pipe: 0 frames, 0 predictions; 0 clips skipped" in ended.text
    assert not captures()


@pytest.mark.skipif(sys.platform != "linux", reason="cameras have other names elsewhere")
def test_bad_input_is_one_line(videonl: Videonl, weights: Path, clip: Path) -> None:
    for words, message in (
        (["93"], "camera 93 is not there: no /dev/video93"),
        (["gone.ts"], "gone.ts: cannot be read"),
        ([clip, "--stride_seconds", 0], "stride_seconds must be at least"),
        ([clip, "--top", 0], "--top must be at least 1"),
        ([clip, "--ffmpeg", "framerate"], "--ffmpeg takes NAME=VALUE"),
        (["rtsp://127.0.0.1:9/a"], "rtsp://127.0.0.1:9/a: cannot be read (Connection refused)"),
    ):
        refused = videonl("stream", *words, "--checkpoint", weights)
        assert refused.code == 2, refused.text
        assert message in refused.text


def test_standard_input(weights: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, videonl: Videonl) -> None:
    saved = os.dup(0)
    with clip.open("rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        ran = videonl("stream", "-", "--checkpoint", weights, "--realtime", "false")
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert "standard input: 31 frames, 2 predictions" in ran.text


def test_predictions_hold_what_the_line_says(weights: Path, clip: Path) -> None:
    import videonl

    with videonl.load(weights, device="cpu").stream(clip, realtime=False) as stream:
        assert isinstance(stream, Stream)
        prediction = next(stream)
    assert command.line_of(prediction, 1).split()[:2] == ["0.33", "s"]
    assert f"{prediction.label} {100 * prediction.probability:.1f} %" in command.line_of(prediction, 1)
