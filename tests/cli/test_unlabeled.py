"""Videos without a label, or with one that the network does not know; several videos; names of classes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videonl.cli.configuration import expand, load
from videonl.evaluation import read_record
from videonl.terminal import printable

Videonl = Callable[..., Any]


@pytest.fixture(scope="module")
def flat(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five test videos in one folder, and a list of them of which two have another label or none that is known."""
    folder = tmp_path_factory.mktemp("flat")
    for number, video in enumerate(sorted((clips / "test").glob("*/*.mp4"))[:5]):
        shutil.copy(video, folder / f"{number}.mp4")
    (folder.parent / "bare.txt").write_text("".join(f"{folder}/{number}.mp4\n" for number in range(5)))
    labels = ["sum_0", "sum_1", "walk", "walk", "sum_0"]
    rows = [f"{folder}/{number}.mp4,{label}\n" for number, label in enumerate(labels)]
    (folder.parent / "some.csv").write_text("".join(rows))
    return folder


@pytest.mark.parametrize(
    ("source", "labels"), [("", 5 * [-1]), ("../bare.txt", 5 * [-1]), ("../some.csv", [0, 1, -1, -1, 0])]
)
def test_videos_without_a_known_label_are_scored(
    videonl: Videonl, trained: Path, flat: Path, tmp_path: Path, source: str, labels: list[int]
) -> None:
    words = ["--checkpoint", trained / "checkpoints" / "best.ckpt", "--source", flat / source, "--num_workers", 0]
    ran = videonl("evaluate", *words, "--num_clips", 1, "--num_crops", 1, "--out", tmp_path)
    assert ran.code == 0, ran.text
    assert [score.label for score in read_record(tmp_path / "evaluation.parquet").scores] == labels
    assert f"{labels.count(-1)} of 5 videos have an unknown class" in ran.text
    assert ("accuracy on 3 videos" in ran.text) == (0 in labels)
    assert (tmp_path / "evaluation.html").exists() == (0 in labels)


def test_predict_needs_no_labels_and_test_does(videonl: Videonl, trained: Path, flat: Path, tmp_path: Path) -> None:
    words = ["--config", trained / "config.yaml", "--data.test", flat.parent / "bare.txt"]
    checkpoint = ["--ckpt_path", trained / "checkpoints" / "best.ckpt", "--run.dir", tmp_path / "run"]
    ran = videonl("predict", *words, *checkpoint)
    assert ran.code == 0, ran.text
    assert [score.label for score in read_record(tmp_path / "run" / "predictions.parquet").scores] == 5 * [-1]
    refused = videonl("test", *words, *checkpoint)
    assert refused.code == 2
    assert "bare.txt:1: has no label, but one is required here" in refused.text


def test_a_training_needs_labels(videonl: Videonl, small_config: Path, flat: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        words = ["--config", small_config, f"--data.{name}", flat, "--run.dir", tmp_path / "run"]
        refused = videonl("fit", *words)
        assert refused.code == 2
        assert "has no label" in refused.text
        assert not (tmp_path / "run").exists()


def test_several_videos_are_predicted(videonl: Videonl, trained: Path, flat: Path) -> None:
    words = ["predict", "--checkpoint", trained / "checkpoints" / "best.ckpt", "--num_clips", 1, "--num_crops", 1]
    ran = videonl(*words, "--video", flat / "0.mp4", "--video", flat / "3.mp4")
    assert ran.code == 0, ran.text
    assert "0.mp4: 1 clip x 1 crop" in ran.text and "3.mp4: 1 clip x 1 crop" in ran.text
    ran = videonl(*words, "--video", flat / "gone.mp4", flat / "2.mp4")
    assert ran.code == 1
    assert "gone.mp4: no such file" in ran.text and "2.mp4: 1 clip x 1 crop" in ran.text
    ran = videonl(*words, "--video", flat / "0.mp4", "--top", 1, "--top", 2)
    assert "--top is given 2 times: the last one counts" in ran.text


@pytest.mark.parametrize("command", ["predict", "attention", "features"])
def test_a_stream_is_refused_by_its_own_name(videonl: Videonl, trained: Path, command: str) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    refused = videonl(command, "--video", "rtsp://camera.local/live?x=1", "--checkpoint", checkpoint)
    assert refused.code == 2
    assert "rtsp://camera.local/live?x=1 is a live stream, which videonl stream reads" in refused.text


def test_names_of_classes_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: {classes: [007, 7, no, 1e3, ~], augmentation: {no_flip_classes: [yes]}}\n")
    data = load(tmp_path / "a.yaml")["data"]
    assert data == {"classes": ["007", "7", "no", "1e3", "~"], "augmentation": {"no_flip_classes": ["yes"]}}
    words = ["fit", "--data.classes", "[007, on]", "--data.classes=[7, a b]", "--data.classes", "names.txt"]
    expected = ["fit", "--data.classes", '["007", "on"]', '--data.classes=["7", "a b"]', "--data.classes", "names.txt"]
    assert expand(words) == expected


def test_a_file_names_numeric_labels(videonl: Videonl, trained: Path, flat: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{flat}/{number}.mp4 {number % 2}\n" for number in range(5)))
    (tmp_path / "names.csv").write_text("id,name\n1,sum_1\n0,sum_0\n")
    words = ["--checkpoint", trained / "checkpoints" / "best.ckpt", "--source", tmp_path / "list.txt", "--num_clips", 1]
    named = [*words, "--classes", tmp_path / "names.csv", "--num_crops", 1, "--num_workers", 0, "--out", tmp_path]
    ran = videonl("evaluate", *named)
    assert ran.code == 0, ran.text
    assert [score.label for score in read_record(tmp_path / "evaluation.parquet").scores] == [0, 1, 0, 1, 0]
    assert "accuracy on 5 videos" in ran.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["index", "LIST", "--out", "OUT/i.parquet", "--num-workers=1"], "5 videos: 5 ok"),
        (["diagnose", "--source", "LIST", "--num_workers=0", "--num-clips=2", "--out", "OUT"], "diagnosis.json"),
        (["evaluate", "--source", "LIST", "--num_workers=0", "--num_clips=1", "--out", "OUT"], "accuracy on 5 videos"),
        (["predict", "LIST", "--num_clips=1", "--num_crops=1", "--out", "OUT.csv"], "5 videos, 1 clip x 1 crop"),
        (["features", "LIST", "--out", "OUT"], "features of 5 of 5 videos"),
        (["test", "--data.train=LIST", "--data.val=LIST", "--data.test=LIST", "--run.dir=OUT"], "5 test; classes: 2"),
    ],
)
def test_a_list_of_any_header_and_root_is_read_by_every_command(
    videonl: Videonl, trained: Path, flat: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    rows = "".join(f"/old/{number}.mp4;{number % 2}\n" for number in range(5))
    (tmp_path / "list.csv").write_text(f"Datei;Klasse\n{rows}")
    (tmp_path / "names.csv").write_text("0 sum_0\n1 sum_1\n")
    words = [word.replace("LIST", f"{tmp_path}/list.csv").replace("OUT", f"{tmp_path}/out") for word in words]
    checkpoint = trained / "checkpoints" / "best.ckpt"
    needs = {"test": ["--config", trained / "config.yaml", "--ckpt_path", checkpoint], "index": []}
    more: list[Any] = needs.get(words[0], ["--checkpoint", checkpoint])
    prefix = "--data." if words[0] == "test" else "--"
    names = [] if words[0] in ("predict", "features") else [f"{prefix}classes", tmp_path / "names.csv"]
    options = [f"{prefix}path-prefix=/old={flat}", *names, f"{prefix}columns"]
    ran = videonl(*words, *more, *options, "path=Datei,label=Klasse")
    assert ran.code == 0 and told in ran.text, ran.text
    refused = videonl(*words, *more, *options, "path=File")
    assert refused.code == 2
    assert "--data.columns names File, but the columns are Datei, Klasse" in refused.text


@pytest.mark.parametrize(
    "name", [300 * "n" + ".mp4", "no\x1fsuch.mp4", "[red] #1.mp4", "007", "null", "", "caf\udce9.mp4", "\U0001f3be.mp4"]
)
def test_names_of_videos_are_taken_as_they_are(videonl: Videonl, trained: Path, name: str) -> None:
    refused = videonl("predict", f"--video={name}", "--checkpoint", trained / "checkpoints" / "best.ckpt")
    assert refused.code == 2
    expected = f"{printable(name)}: no such file" if name else "--video names no file"
    assert expected in refused.text
