"""A test or prediction that is cut off goes on with the same command, as if nothing had happened."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videonl.data.batches import EvaluationBatch
from videonl.training import ClipModule

Videonl = Callable[..., Any]
CASES = [("test", "test.parquet"), ("predict", "predictions.parquet")]


@pytest.fixture
def begin(
    videonl: Videonl, trained: Path, small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, list[int]]]:
    """Runs ``begin("test", "part", ...)`` in a folder, told to end at a batch; returns also the videos it scores."""

    def run(command: str, folder: str, *options: object, end_at: int = -1) -> tuple[Any, list[int]]:
        scored: list[int] = []

        def note(module: ClipModule, batch: EvaluationBatch, number: int) -> None:
            if number == end_at:
                os.kill(os.getpid(), signal.SIGTERM)
            scored.extend(batch["video"].unique().tolist())

        monkeypatch.setattr(ClipModule, f"on_{command}_batch_start", note)
        words = ["--config", small_config, "--ckpt_path", trained / "checkpoints" / "best.ckpt"]
        return videonl(command, *words, "--run.dir", tmp_path / folder, *options), scored

    return run


@pytest.mark.parametrize(("command", "written"), CASES)
def test_the_same_command_goes_on(
    begin: Callable[..., tuple[Any, list[int]]], tmp_path: Path, command: str, written: str
) -> None:
    begin(command, "whole")
    ended, before = begin(command, "part", end_at=3)
    assert (ended.code, before) == (143, [0, 1, 2, 3])
    assert (tmp_path / "part" / f"{command}.part").is_file()  # which --run.overwrite knows by this name
    ended, after = begin(command, "part")
    assert (ended.code, after) == (0, [4, 5, 6, 7, 8, 9, 10])
    assert "resuming: 4 of 11 videos are scored already" in ended.text
    whole, part = ((tmp_path / folder / written).read_bytes() for folder in ("whole", "part"))
    assert part == whole
    assert not list((tmp_path / "part").glob("*.part"))


def test_another_test_begins_anew(begin: Callable[..., tuple[Any, list[int]]]) -> None:
    begin("test", "part", end_at=3)
    ended, scored = begin("test", "part", "--data.test_views.num_clips", 1)
    assert (ended.code, scored) == (0, list(range(11)))
    assert "was of another checkpoint, other videos or other views: starting from scratch" in ended.text


def test_all_videos_may_be_scored_already(
    begin: Callable[..., tuple[Any, list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("videonl.training.callbacks.evaluations.write_evaluation", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            begin("test", "part")
    ended, scored = begin("test", "part")
    assert (ended.code, scored) == (0, [])
    assert (tmp_path / "part" / "test.parquet").is_file()
