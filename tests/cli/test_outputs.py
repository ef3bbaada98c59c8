"""Where commands write: never over what they read, in a folder of their own, and said before the work."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.data.sources.folders import read_folder
from videonl.evaluation import EvaluationRecord, VideoScore, read_record, write_record
from videonl.files import locked
from videonl.models.checkpoints import load_trained

Videonl = Callable[..., Any]


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "net.ckpt"
    copied.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    return copied


@pytest.fixture
def record(tmp_path: Path) -> Path:
    scores = [VideoScore(n, f"{n}.mp4", n % 2, torch.tensor([[1.0, n]]), ((0, 0),), "softmax") for n in range(7)]
    write_record(tmp_path / "a.parquet", EvaluationRecord(["a", "b"], scores))
    return tmp_path / "a.parquet"


@pytest.fixture
def listed(clips: Path, tmp_path: Path) -> Path:
    path = tmp_path / "diagnosis.csv"
    path.write_text("".join(f"{video},{video.parent.name}\n" for video in sorted((clips / "test").glob("*/*.mp4"))))
    return path


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_outputs_that_are_inputs_are_refused(
    videonl: Videonl, checkpoint: Path, record: Path, listed: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index.parquet"
    assert videonl("index", listed, "--out", index, "--check", "packets").code == 0
    (tmp_path / "evaluation.html").symlink_to(listed)
    (tmp_path / "film").mkdir()
    (block,) = load_trained(checkpoint).network.blocks
    film = tmp_path / "film" / f"{block}.mp4"
    film.write_bytes(Path(listed.read_text().partition(",")[0]).read_bytes())
    table = tmp_path / "tables" / "videos.csv"
    table.parent.mkdir()
    table.write_text(f"path,label,split\n{listed.read_text().partition(',')[0]},run,train\n")
    (tmp_path / "hard.csv").hardlink_to(table)
    files = {path: path.read_bytes() for path in (checkpoint, record, listed, index, film, table)}
    own = ["--checkpoint", checkpoint]
    for words in (
        ["export", *own, "--format", "onnx", "--out", checkpoint],
        ["convert", checkpoint, "--from", "pytorchvideo", "--out", checkpoint],
        ["report", record, "--out", record],
        ["compare", record, record, "--out", record],
        ["doctor", index, "--out", index],
        ["doctor", tmp_path, "--out", index],
        ["index", index, "--out", index],
        ["evaluate", *own, "--source", listed, "--out", tmp_path],
        ["diagnose", *own, "--source", listed, "--out", tmp_path],
        ["attention", *own, "--video", film, "--out", tmp_path / "film"],
        ["predict", index, *own, "--out", index],
        ["predict", f"{table}#train", *own, "--out", tmp_path / "hard.csv"],
        ["features", table, *own, "--out", table.parent],
    ):
        refused = videonl(*words)
        assert refused.code == 2, words
        assert "is an input, and would be overwritten" in refused.text, words
        assert {path: path.read_bytes() for path in files} == files, words
    assert [path.name for path in film.parent.iterdir()] == [film.name]


def test_outputs_among_the_videos_are_refused(
    videonl: Videonl, checkpoint: Path, small_config: Path, clips: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(clips / "val", videos)
    (tmp_path / "link").symlink_to(videos)
    before = files_of(videos)
    own, few = ["--checkpoint", checkpoint, "--source", videos], ["--num_clips", 2, "--num_workers", 0]
    config = ["--config", small_config, "--data.val", videos, "--data.test", tmp_path / "link"]
    for words in (
        ["evaluate", *own, *few, "--out", videos / "results"],
        ["diagnose", *own, *few, "--out", tmp_path / "link" / "sum_0" / "more" / "d"],
        ["index", videos, "--out", videos / "index" / "index.parquet"],
        ["fit", *config, "--run.dir", videos],
        ["predict", videos, "--checkpoint", checkpoint, "--out", videos / "scores" / "scores.csv"],
        *([name, *config, "--run.dir", videos / "run", "--ckpt_path", checkpoint] for name in ("validate", "predict")),
    ):
        refused = videonl(*words)
        assert refused.code == 2, (words, refused.text)
        assert f"lies in {videos}, from which videos are read" in refused.text.replace("link", "videos")
        assert files_of(videos) == before
    assert videonl("evaluate", *own, *few, "--num_crops", 1, "--out", videos / ".results").code == 0
    assert len(read_folder(videos)) == 7  # of the classes that there were


def test_films_among_the_videos_are_warned_of(videonl: Videonl, checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    shutil.copytree(clips / "val", tmp_path / "videos")
    shutil.copytree(clips / "val" / "sum_0", tmp_path / "videos" / "sum_2")
    video = next((tmp_path / "videos" / "sum_0").iterdir())
    words = ["attention", "--checkpoint", checkpoint, "--film", "none", "--video"]
    for out, folder in (
        ("videos/sum_1", "videos"),
        ("videos/films", "videos"),
        ("films", None),
        ("videos/.films", None),
    ):
        shown = videonl(*words, video, "--out", tmp_path / out)
        assert shown.code == 0, shown.text
        assert ("lies in" in shown.text) == (folder is not None)
        assert folder is None or f"{tmp_path / out} lies in {tmp_path / folder}, a folder of videos" in shown.text
    alone = tmp_path / "alone" / video.name
    alone.parent.mkdir()
    alone.write_bytes(video.read_bytes())
    assert "lies in" not in videonl(*words, alone, "--out", alone.parent / "attention").text
    alone.with_name("other.mp4").write_bytes(video.read_bytes())
    assert f"lies in {alone.parent}, a folder of" in videonl(*words, alone, "--out", alone.parent / "attention").text


def test_places_that_cannot_be_are_refused_before_the_work(
    videonl: Videonl, checkpoint: Path, record: Path, listed: Path, small_config: Path, tmp_path: Path
) -> None:
    own, folder, file = ["--checkpoint", checkpoint], tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.touch()
    for words in (
        ["export", *own, "--format", "torch-export", "--out", folder],
        ["convert", checkpoint, "--from", "pytorchvideo", "--out", folder],
        ["report", record, "--out", folder],
        ["compare", record, record, "--out", folder],
        ["evaluate", *own, "--source", listed, "--out", file],
        ["diagnose", *own, "--source", listed, "--out", file],
        ["attention", *own, "--video", "any.mp4", "--out", file],
        ["fit", "--config", small_config, "--run.dir", file],
        ["test", "--config", small_config, "--run.dir", file],
        ["synth", file / "new"],
        ["demo", "--out", file],
    ):
        refused = videonl(*words)
        assert refused.code == 2, words
        assert "cannot be written (" in refused.text or "is a file" in refused.text, refused.text
        assert "Traceback" not in refused.text


def test_a_folder_that_another_process_fills_is_refused(
    videonl: Videonl, checkpoint: Path, listed: Path, small_config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cases = {
        ".lock": ["evaluate", "--checkpoint", checkpoint, "--source", listed, "--out", out, "--num_workers", 0],
        ".fit.lock": ["fit", "--config", small_config, "--run.dir", out],
        "i.parquet.lock": ["index", listed, "--out", out / "i.parquet"],
    }
    with ExitStack() as held:
        for name in cases:
            held.enter_context(locked(out / name, "a test"))
        for words in cases.values():
            refused = videonl(*words)
            assert refused.code == 2
            assert "already, in another process; wait for it" in refused.text
        assert {path.name for path in out.iterdir()} == cases.keys()
    assert not any(out.iterdir())


def test_a_class_whose_name_is_no_text_is_evaluated(
    videonl: Videonl, checkpoint: Path, clips: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["videonl"]["class_names"] = ["sum_0", os.fsdecode(b"r\xfcn")]  # as version 0.1.0 kept it
    torch.save(content, checkpoint)
    videos = sorted((clips / "test").glob("*/*.mp4"))
    for number, name in enumerate((b"sum_0", b"r\xfcn")):
        (tmp_path / "videos" / os.fsdecode(name)).mkdir(parents=True)
        (tmp_path / "videos" / os.fsdecode(name) / "a.mp4").write_bytes(videos[number].read_bytes())
    words = ["--checkpoint", checkpoint, "--source", tmp_path / "videos", "--num_clips", 1, "--num_crops", 1]
    done = videonl("evaluate", *words, "--num_workers", 0, "--out", tmp_path / "out")
    assert done.code == 0, done.text
    assert read_record(tmp_path / "out" / "evaluation.parquet").class_names == ["sum_0", r"r\xfcn"]
    assert r"r\xfcn" in (tmp_path / "out" / "evaluation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("redirected", "said"),
    [
        (">&-", "standard output is closed; redirect it to a file, or to /dev/null"),
        (">/dev/full", "standard output cannot be written (No space left on device)"),
    ],
)
def test_an_output_that_takes_nothing_is_named(redirected: str, said: str) -> None:
    # Unbuffered, so that it fails where it is printed.
    command = f"{sys.executable} -u -W ignore -m videonl fit --help {redirected}"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr


@pytest.mark.slow
def test_shared_memory_that_is_too_small_is_named(small_config: Path, tmp_path: Path) -> None:
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "bash", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed")
    words = f"--config {small_config} --data.loading.num_workers 1 --run.dir {tmp_path / 'run'}"
    command = f"{mount} && exec {sys.executable} -W ignore -m videonl fit {words}"
    ended = subprocess.run(["unshare", "-m", "bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "ran out of shared memory (/dev/shm) for their batches" in ended.stderr
    assert "Traceback" not in ended.stderr
