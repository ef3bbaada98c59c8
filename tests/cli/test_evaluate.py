"""evaluate, report and compare, from the command line."""

import os
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from videonl.cli import evaluate as command
from videonl.evaluation import EvaluationRecord, read_record
from videonl.evaluation.unfinished import UnfinishedEvaluation

Videonl = Callable[..., Any]
VIEWS = ["--num_clips", 2, "--num_crops", 3, "--num_workers", 0]


@pytest.fixture
def options(trained: Path, clips: Path) -> list[object]:
    return ["--checkpoint", trained / "checkpoints" / "best.ckpt", "--source", clips / "test", *VIEWS]


def logits_of(record: EvaluationRecord) -> dict[str, torch.Tensor]:
    return {score.path: score.logits for score in record.scores}


def test_a_checkpoint_and_videos_are_enough_and_agree_with_the_test(
    videonl: Videonl, trained: Path, clips: Path, options: list[object], tmp_path: Path
) -> None:
    evaluated = videonl("evaluate", *options, "--out", tmp_path / "out")
    assert evaluated.code == 0
    assert "accuracy on 11 videos" in evaluated.text
    names = {"evaluation.parquet", "evaluation.html", "evaluation_confusion.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    videonl("test", "--config", trained / "config.yaml")
    own, tested = (
        logits_of(read_record(path)) for path in (tmp_path / "out" / "evaluation.parquet", trained / "test.parquet")
    )
    about = read_record(tmp_path / "out" / "evaluation.parquet").about
    assert about["videos"] == str(clips / "test")
    assert (about["backbone"], about["blocks"]) == (
        "hara_r3d, width 3, depth 10",
        "nonlocal, embedded gaussian after res3.0",
    )
    assert date.today() - date.fromisoformat(about["date"]) <= timedelta(days=1)
    of_test = read_record(trained / "test.parquet").about
    assert of_test == about | {"checkpoint": of_test["checkpoint"], "videos": f"test (root {clips})"}
    assert all(value in (tmp_path / "out" / "evaluation.html").read_text() for value in about.values())
    assert own.keys() == tested.keys()
    for path, logits in own.items():
        torch.testing.assert_close(logits, tested[path], rtol=1e-4, atol=1e-4)


def test_an_interrupted_evaluation_goes_on_and_ends_the_same(
    videonl: Videonl, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videonl("evaluate", *options, "--out", tmp_path / "whole")
    scored: list[str] = []
    add = UnfinishedEvaluation.add

    def interrupted(self: UnfinishedEvaluation, score: Any) -> None:
        if len(scored) == 4:
            raise KeyboardInterrupt
        scored.append(score.path)
        add(self, score)

    monkeypatch.setattr(UnfinishedEvaluation, "add", interrupted)
    assert videonl("evaluate", *options, "--out", tmp_path / "cut").code == 130
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["evaluation.part"]
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "400")
    read: list[int] = []
    getitem = command.EvaluationVideos.__getitem__
    monkeypatch.setattr(command.EvaluationVideos, "__getitem__", lambda self, i: read.append(i) or getitem(self, i))
    resumed = videonl("evaluate", *options, "--out", tmp_path / "cut")
    assert "4 of 11 videos are scored already" in resumed.text
    assert read == list(range(4, 11))  # the rest, each decoded once
    for name in ("evaluation.parquet", "evaluation.html"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / "evaluation.part").exists()


def test_whole_frames_of_different_sizes(
    videonl: Videonl, trained: Path, encode_video: Callable[..., Path], tmp_path: Path
) -> None:
    for name, (height, width) in {"sum_0/a": (46, 62), "sum_1/b": (70, 38), "sum_1/c": (37, 37)}.items():
        encode_video(tmp_path / "clips" / f"{name}.mp4", height=height // 2 * 2, width=width // 2 * 2)
    words = ["--checkpoint", trained / "checkpoints" / "best.ckpt", "--source", tmp_path / "clips", "--num_workers", 0]
    done = videonl(
        "evaluate", *words, "--num_clips", 3, "--fully_convolutional", "--average", "logits", "--out", tmp_path
    )
    assert done.code == 0
    record = read_record(tmp_path / "evaluation.parquet")
    assert [score.views for score in record.scores] == 3 * [((0, 0), (1, 0), (2, 0))]
    assert record.about["views"] == "3 clips of whole frames with a short side of 37 px"
    assert record.average == "logits"


def test_unreadable_videos_are_named(videonl: Videonl, options: list[object], clips: Path, tmp_path: Path) -> None:
    good = next((clips / "test").glob("*/*.mp4"))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.csv").write_text(f"{good},{good.parent.name}\n{tmp_path / 'empty.mp4'},sum_0\n")
    words = [tmp_path / "list.csv" if word == clips / "test" else word for word in options]
    done = videonl("evaluate", *words, "--out", tmp_path / "out")
    assert done.code == 1
    assert "accuracy on 1 of 2 videos, 1 unreadable" in done.text
    assert "1 of 2 videos could not be read and have no score" in done.text
    assert f"skipped {tmp_path / 'empty.mp4'}: the file is empty" in done.text
    record = read_record(tmp_path / "out" / "evaluation.parquet")
    assert (len(record.scores), list(record.unreadable)) == (1, [str(tmp_path / "empty.mp4")])
    for share, code in ((0.5, 0), (0.49, 1)):
        assert videonl("evaluate", *words, "--out", tmp_path / "out", "--max-failed-share", share).code == code
    videonl("index", tmp_path / "list.csv", "-o", tmp_path / "index.parquet")
    words = [tmp_path / "index.parquet" if word == tmp_path / "list.csv" else word for word in words]
    indexed = videonl("evaluate", *words, "--out", tmp_path / "indexed")
    assert indexed.code == 1
    assert "accuracy on 1 of 2 videos, 1 unreadable" in indexed.text
    assert read_record(tmp_path / "indexed" / "evaluation.parquet").unreadable == record.unreadable


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fully_convolutional"], "fully_convolutional takes the whole frame"),
        (["--crop_px", 41], "crop_px must not exceed short_side_px 37"),
        (["--device", "abacus"], "device 'abacus' is not available"),
        (["--device", "meta"], "device 'meta' is not available"),
        (["--num_crops", 0], "--num_crops must be at least 1, got 0"),
        (["--views_per_step", 0], "--views_per_step must be at least 1, got 0"),
        (["--num_workers", -1], "--num_workers must be at least 0, got -1"),
        (["--max-failed-share", 1.5], "--max_failed_share must be in [0, 1], got 1.5"),
        (["--num_mistakes", -1], "--num_mistakes must be at least 0, got -1"),
        (["--decoder", "eyes"], "unknown decoder 'eyes'"),
        (["--source", "nowhere"], "nowhere: no such folder"),
        (["--checkpoint", "nothing.ckpt"], "checkpoint nothing.ckpt does not exist"),
    ],
)
def test_mistakes_are_explained(
    videonl: Videonl, options: list[object], tmp_path: Path, words: list[object], told: str
) -> None:
    refused = videonl("evaluate", *options, *words, "--out", tmp_path / "out")
    assert refused.code == 2
    assert told in refused.text
    assert not (tmp_path / "out").exists()


def test_another_unfinished_evaluation_is_kept(videonl: Videonl, options: list[object], tmp_path: Path) -> None:
    UnfinishedEvaluation(tmp_path / "evaluation.part", ["a"], {"average": "softmax"}).__enter__().__exit__(
        None, None, None
    )
    refused = videonl("evaluate", *options, "--out", tmp_path)
    assert refused.code == 2
    assert "is an unfinished evaluation of another checkpoint" in refused.text


def test_report_is_made_again_with_another_average(videonl: Videonl, options: list[object], tmp_path: Path) -> None:
    videonl("evaluate", *options, "--out", tmp_path)
    page = (tmp_path / "evaluation.html").read_bytes()
    record = tmp_path / "evaluation.parquet"
    assert videonl("report", record).code == 0
    assert (tmp_path / "evaluation.html").read_bytes() == page
    other = videonl("report", record, "--average", "logits", "--out", tmp_path / "new" / "logits.html")
    assert other.code == 0
    assert "the softmax of the views' mean logits" in (tmp_path / "new" / "logits.html").read_text().replace(
        "&#39;", "'"
    )
    Image.open(tmp_path / "new" / "logits_confusion.png").verify()


def test_two_evaluations_are_compared(videonl: Videonl, options: list[object], clips: Path, tmp_path: Path) -> None:
    videonl("evaluate", *options, "--out", tmp_path / "a")
    videonl("evaluate", *options, "--num_clips", 1, "--num_crops", 1, "--out", tmp_path / "b")
    records = [tmp_path / name / "evaluation.parquet" for name in "ab"]
    compared = videonl("compare", *records, "--out", tmp_path / "comparison.html")
    assert compared.code == 0
    assert "11 videos, B - A in points" in compared.text
    assert "exact McNemar p = " in compared.text
    assert str(records[1]) in (tmp_path / "comparison.html").read_text()
    others = ["--source", clips / "val", "--out", tmp_path / "c"]
    videonl("evaluate", *options, *others)
    refused = videonl("compare", records[0], tmp_path / "c" / "evaluation.parquet")
    assert refused.code == 2
    assert "do not have the same videos; only A has 11" in refused.text


def test_awkward_names_of_files_and_classes(videonl: Videonl, trained: Path, clips: Path, tmp_path: Path) -> None:
    names = ["[red]", "[/x] é"]
    content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    content["videonl"]["class_names"] = names
    torch.save(content, tmp_path / "odd #1.ckpt")
    video = tmp_path / "[bold] #1 ü.mp4"
    video.write_bytes(next((clips / "test").glob("*/*.mp4")).read_bytes())
    words = ["--checkpoint", tmp_path / "odd #1.ckpt", "--video", video]
    predicted = videonl("predict", *words, "--num_clips", 1)
    assert predicted.code == 0
    assert all(name in predicted.text for name in [video.name, *names])
    shown = videonl("attention", *words, "--film", "none", "--out", tmp_path / "attention")
    assert shown.code == 0
    assert re.search(r"predicts (\[red\]|\[/x\] é)", shown.text)


def test_names_of_files_that_are_no_text(videonl: Videonl, options: list[object], clips: Path, tmp_path: Path) -> None:
    for number, name in enumerate([b"a.mp4", b"\xff.mp4"]):
        video = tmp_path / "videos" / f"sum_{number}" / os.fsdecode(name)
        video.parent.mkdir(parents=True)
        video.write_bytes(next((clips / "test").glob("*/*.mp4")).read_bytes())
    assert videonl("evaluate", *options, "--source", tmp_path / "videos", "--out", tmp_path).code == 0
    record = read_record(tmp_path / "evaluation.parquet")
    assert [Path(score.path).name for score in record.scores] == ["a.mp4", r"\xff.mp4"]


def test_a_network_whose_scores_are_not_finite_is_refused(
    videonl: Videonl, trained: Path, options: list[object], clips: Path, tmp_path: Path
) -> None:
    content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    head = [value for value in content["state_dict"].values() if value.ndim == 2]
    assert head
    for weight in head:
        weight.fill_(torch.nan)
    torch.save(content, tmp_path / "nan.ckpt")
    refused = videonl("evaluate", *options, "--checkpoint", tmp_path / "nan.ckpt", "--out", tmp_path)
    assert refused.code == 2
    assert "the scores of 11 of 11 videos" in refused.text and "are not finite" in refused.text
    assert not (tmp_path / "evaluation.html").exists()
    video = next((clips / "test").glob("*/*.mp4"))
    for words, told in (
        (["predict"], f"the scores of 1 of 1 videos, such as {video}, are not finite"),
        (["attention", "--out", tmp_path], "the scores of nan.ckpt are not finite"),
    ):
        refused = videonl(*words, "--checkpoint", tmp_path / "nan.ckpt", "--video", video)
        assert refused.code == 2
        assert told in refused.text


def test_places_that_cannot_be_written_are_named(videonl: Videonl, options: list[object], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = videonl("evaluate", *options, "--out", tmp_path / "file")
    assert refused.code == 2
    assert f"{tmp_path / 'file'} cannot be written (it is a file)" in refused.text
    record = tmp_path / "a.parquet"
    assert videonl("evaluate", *options, "--out", tmp_path).code == 0
    (tmp_path / "evaluation.parquet").rename(record)
    for words in (["report", record], ["compare", record, record]):
        refused = videonl(*words, "--out", tmp_path)
        assert refused.code == 2
        assert f"{tmp_path} cannot be written (Is a directory)" in refused.text
