"""Every kind of bad file in one training: it finishes, names them all, and loses nothing else."""

import ctypes
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.data.reading.test_limited_reader import Troubled as Hanging
from videonl.data.reading import limited_reader
from videonl.data.reading.video_reader import VideoReader
from videonl.data.sources import labels
from videonl.data.video import Video

Videonl = Callable[..., Any]


@pytest.fixture
def good(clips: Path) -> list[Path]:
    return sorted((clips / "train").glob("*/*.mp4"))


@pytest.fixture
def bad(good: list[Path], tmp_path: Path) -> list[Path]:
    """One of each kind."""
    whole = good[0].read_bytes()
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").touch()
    (folder / "garbage.mp4").write_bytes(bytes(range(256)) * 37)
    os.mkfifo(folder / "fifo.mp4")  # nobody ever writes into it
    (folder / "circle.mp4").symlink_to(folder / "circle.mp4")  # not even root can read it
    (folder / "folder.mp4").mkdir()
    for name in ("hangs.mp4", "crashes.mp4", "deleted.mp4"):
        (folder / name).write_bytes(whole)
    if os.geteuid():
        (folder / "forbidden.mp4").write_bytes(whole)
        (folder / "forbidden.mp4").chmod(0)
    return sorted(folder.iterdir())


@dataclass(frozen=True)
class Troubled(Video):
    """A video that gives trouble by some names; notes in ``log`` when it could be opened."""

    log: Path = Path()

    def open(self, decoder: str = "auto") -> VideoReader:
        assert isinstance(self.path, Path)
        if self.path.name == "hangs.mp4":
            ctypes.PyDLL(None).sleep(1000)  # native code that keeps the interpreter's lock
        if self.path.name == "crashes.mp4":
            os.kill(os.getpid(), signal.SIGKILL)
        reader = super().open(decoder)
        with self.log.open("a") as file:
            file.write(f"{self.path}\n")
        if self.path.name == "deleted.mp4":
            reader.read([0])
            self.path.unlink()
        return reader


def listed(path: Path, videos: list[Path]) -> Path:
    path.write_text("".join(f"{video},sum_{number % 2}\n" for number, video in enumerate(videos)))
    return path


def test_a_training_survives_every_bad_file_and_names_it(
    videonl: Videonl,
    small_config: Path,
    good: list[Path],
    bad: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = tmp_path / "opened"
    monkeypatch.setattr(labels, "Video", partial(Troubled, log=opened))
    good = good[: 2 * 11 - len(bad)]
    videos = good + bad
    train = listed(tmp_path / "train.csv", videos)
    train.write_text(train.read_text() + f"{good[0]},summ_1\n")
    classes = ["--data.classes", "[sum_0, sum_1]"]
    source = ["--data.train", train, *classes, "--data.val", "null", "--trainer.max_epochs", 2]
    loading = {"batch_size": 11, "num_workers": 1, "time_limit_seconds": 8, "max_failed_share": 0.5}
    options = [word for name, value in loading.items() for word in (f"--data.loading.{name}", value)]
    trained = videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", *source, *options)
    assert trained.code == 0
    for path in bad:
        assert trained.text.count(f"skipped {path}:") == 1, path
    assert trained.text.count(f"skipped {train}:{len(videos) + 1}: label 'summ_1' is not one of the 2 classes") == 1
    assert trained.text.count("skipped ") == len(bad) + 1
    assert "took longer than 8 seconds, and the process that decoded it was ended" in trained.text
    assert "crashes.mp4: the process that decoded it died" in trained.text
    assert f"replaced by others in epoch 1: {len(bad)}" in trained.text
    # Each good video was read in both epochs.
    lines = opened.read_text().splitlines()
    assert all(lines.count(str(path)) >= 2 for path in good)


def test_many_wrong_labels_stop_a_training_and_are_listed(
    videonl: Videonl, small_config: Path, good: list[Path], tmp_path: Path
) -> None:
    source = listed(tmp_path / "train.csv", good)
    source.write_text(source.read_text() + f"{good[0]},summ_1\n" * 6)
    classes = ["--data.classes", "[sum_0, sum_1]"]
    refused = videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", "--data.train", source, *classes)
    assert refused.code == 2
    assert "6 of 19 training videos have a wrong label or none, more than the share of 0.1" in refused.text
    assert all(f"{source}:{line}: label 'summ_1' is not one of the 2 classes" in refused.text for line in range(14, 20))


@pytest.mark.parametrize("command", ["fit", "test"])
def test_more_bad_files_than_allowed_stop_the_run_and_are_listed(
    videonl: Videonl, trained: Path, small_config: Path, good: list[Path], tmp_path: Path, command: str
) -> None:
    missing = [tmp_path / f"gone_{number}.mp4" for number in range(6)]
    split = "train" if command == "fit" else "test"
    source = [f"--data.{split}", listed(tmp_path / "list.csv", good + missing), "--run.dir", tmp_path / "run"]
    checkpoint = [] if command == "fit" else ["--ckpt_path", trained / "checkpoints" / "last.ckpt"]
    loading = ["--data.loading.batch_size", 19, "--data.loading.max_failed_share"]
    stopped = videonl(command, "--config", small_config, *source, *checkpoint, *loading, 0.3)
    assert stopped.code == (2 if command == "fit" else 1)
    assert "6 of 19 videos could not be read" in stopped.text
    assert (tmp_path / "run" / "test.parquet").exists() == (command == "test")  # what was scored is not lost
    assert all(f"{path}: no such file" in stopped.text for path in missing)
    assert "Traceback" not in stopped.text
    again = [*source, *checkpoint, "--run.overwrite", "true"]
    assert videonl(command, "--config", small_config, *again, *loading, 0.4).code == 0


def test_an_evaluation_survives_files_that_hang_or_crash(
    videonl: Videonl, trained: Path, good: list[Path], bad: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "Video", partial(Troubled, log=tmp_path / "opened"))
    troubled = [path for path in bad if path.name in ("hangs.mp4", "crashes.mp4")]
    videos = [
        "--source",
        listed(tmp_path / "list.csv", [good[0], *troubled, good[1]]),
        "--num_clips",
        1,
        "--num_crops",
        1,
    ]
    loading = ["--num_workers", 1, "--time_limit", 8, "--out", tmp_path / "out"]
    loading += ["--max-failed-share", 0.5]
    done = videonl("evaluate", "--checkpoint", trained / "checkpoints" / "best.ckpt", *videos, *loading)
    assert done.code == 0
    assert all(done.text.count(f"skipped {path}:") == 1 for path in troubled)
    assert "accuracy on 2 of 4 videos, 2 unreadable" in done.text


def test_a_prediction_of_a_few_videos_survives_one_that_hangs(
    videonl: Videonl, trained: Path, good: list[Path], bad: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "Video", partial(Troubled, log=tmp_path / "opened"))
    hanging = next(path for path in bad if path.name == "hangs.mp4")
    words = [good[0], hanging, good[1], "--checkpoint", trained, "--num-clips", 1, "--num-crops", 1]
    ended = videonl("predict", *words, "--time-limit", 4)
    assert ended.code == 1
    assert f"1 of 3 videos could not be read: {hanging}: took longer than 4 seconds, and the process that" in ended.text
    assert all(path.name in ended.text for path in good[:2])


def test_a_timeline_of_a_video_that_hangs_ends(
    videonl: Videonl, trained: Path, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_reader, "_Decoding", Hanging)
    video = tmp_path / "hangs.mp4"
    video.write_bytes(good[0].read_bytes())
    words = ["timeline", video, "--checkpoint", trained, "--out", tmp_path / "out.json", "--time-limit"]
    ended = videonl(*words, 4)
    assert (ended.code, (tmp_path / "out.json").exists()) == (2, False)
    assert f"{video}: took longer than 4 seconds, and the process that decoded it was ended" in ended.text
    assert videonl(*words, 0).code == 0  # in the main process, where nothing hangs
