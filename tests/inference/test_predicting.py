"""Predictions of many videos: from any source, to any file, interrupted and gone on with."""

import csv
import http.server
import json
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import videonl
from tests.small_weights import CLASS_NAMES
from videonl.cli.main import main
from videonl.data.sources.videos import read_videos
from videonl.data.transforms import Views
from videonl.errors import UserError
from videonl.evaluation.record import read_record
from videonl.inference import Model, Predictions
from videonl.inference import scoring as road
from videonl.inference.predicting import Asked, predict_videos

FEW = {"num_clips": 1, "num_crops": 1, "progress": False}
VIEWS = ["--num-clips", "1", "--num-crops", "1"]


@pytest.fixture(scope="module")
def model(weights: Path) -> Model:
    return videonl.load(weights, device="cpu")


@pytest.fixture
def folder(video_folder: Path, tmp_path: Path) -> Path:
    """A folder of four videos, one of which cannot be read, and a list of two of them."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, video in enumerate(sorted(video_folder.glob("*/*.mp4"))[:3]):
        shutil.copy(video, folder / f"{number}.mp4")
    (folder / "bad.mp4").write_text("no video")
    (tmp_path / "two.csv").write_text(f"path,label\n{folder}/2.mp4,kick\n{folder}/0.mp4,flying\n")
    return folder


def test_every_kind_of_source_is_read(folder: Path) -> None:
    def names(*sources: str | Path) -> list[str]:
        return [Path(str(entry.path)).name for entry in read_videos(sources)]

    assert names(folder) == ["0.mp4", "1.mp4", "2.mp4", "bad.mp4"]
    assert names(f"{folder}/?.mp4") == ["0.mp4", "1.mp4", "2.mp4"]
    assert names(folder.parent / "two.csv", folder / "1.mp4", folder) == ["2.mp4", "0.mp4", "1.mp4", "bad.mp4"]
    for source, message in (
        (f"{folder}/*.avi", None),
        (f"{folder}/*.txt", "matches no file"),
        (f"{folder}/none", "no such file or folder"),
        ("rtsp://camera/1", "videonl stream"),
        ("", "empty name"),
    ):
        if message is None:
            assert names(source) == ["*.avi"]  # a video that is missing, as one of any other name
        else:
            with pytest.raises(UserError, match=message):
                names(source)
    with pytest.raises(UserError, match="no videos are named"):
        read_videos([])


def test_a_folder_is_predicted_and_written_in_every_format(model: Model, folder: Path, tmp_path: Path) -> None:
    found = model.predict(folder, **FEW)
    assert isinstance(found, Predictions)
    assert [Path(each.video).name for each in found] == ["0.mp4", "1.mp4", "2.mp4"]
    assert [Path(name).name for name in found.unreadable] == ["bad.mp4"]
    for each in found:
        assert torch.equal(each.logits, model.predict(each.video, num_clips=1, num_crops=1).logits)
    for suffix in (".csv", ".json", ".parquet"):
        written = model.predict([folder], out=tmp_path / f"found{suffix}", **FEW)
        assert len(written) == 3
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == ["0.mp4", "1.mp4", "2.mp4", "bad.mp4"]
    assert [row["class_1"] for row in rows[:3]] == [each.label for each in found]
    assert [float(row["probability_1"]) for row in rows[:3]] == [each.probability for each in found]
    assert "cannot be" in rows[3]["error"]
    listed = json.loads((tmp_path / "found.json").read_text())["videos"]
    assert [each["class"] for each in listed[0]["top"]] == [name for name, _ in found[0].top()]
    assert listed[3]["error"] == rows[3]["error"]
    table = pq.read_table(tmp_path / "found.parquet")
    assert table["error"].to_pylist() == [None, None, None, rows[3]["error"]]
    record = read_record(tmp_path / "found.parquet")
    assert all(torch.equal(score.logits, each.logits) for score, each in zip(record.scores, found, strict=True))
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*"))


def test_a_folder_has_the_probabilities_of_evaluate_to_the_bit(
    model: Model, weights: Path, video_folder: Path, tmp_path: Path
) -> None:
    words = ["--checkpoint", str(weights), "--source", str(video_folder), "--out", str(tmp_path), "--device", "cpu"]
    assert main(["evaluate", *words, *VIEWS, "--num-workers", "0"]) == 0
    evaluated = read_record(tmp_path / "evaluation.parquet")
    found = model.predict(video_folder, **FEW)
    assert [each.video for each in found] == [score.path for score in evaluated.scores]
    for each, score in zip(found, evaluated.scores, strict=True):
        assert torch.equal(each.scores, score.probabilities)


def test_interrupted_it_goes_on_where_it_stopped(
    model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, scored = tmp_path / "found.csv", []
    scores_of = road._scores_of

    def interrupted(recognizer: Any, average: Any, batch: Any) -> Any:
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.extend(batch["path"])
        return scores_of(recognizer, average, batch)

    monkeypatch.setattr(road, "_scores_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.predict(folder, out=out, **FEW)
    assert not out.exists()
    monkeypatch.setattr(road, "_scores_of", lambda *asked: scored.extend(asked[-1]["path"]) or scores_of(*asked))
    model.predict(folder, out=out, **FEW)
    assert [Path(path).name for path in scored] == ["0.mp4", "1.mp4", "2.mp4"]  # none of them twice
    monkeypatch.undo()
    model.predict(folder, out=tmp_path / "at_once.csv", **FEW)
    assert out.read_bytes() == (tmp_path / "at_once.csv").read_bytes()


def test_a_video_is_read_from_its_address(model: Model, folder: Path) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            one = model.predict(f"{address}/1.mp4", num_clips=1, num_crops=1)
            found = model.predict([f"{address}/1.mp4", f"{address}/gone.mp4"], **FEW)
        finally:
            server.shutdown()
    assert one.video == f"{address}/1.mp4"
    assert torch.equal(one.logits, model.predict(folder / "1.mp4", num_clips=1, num_crops=1).logits)
    assert [each.video for each in found] == [one.video]
    assert "cannot be fetched" in found.unreadable[f"{address}/gone.mp4"]


def test_labels_that_the_network_knows_are_kept(model: Model, folder: Path) -> None:
    found = model.predict(folder.parent / "two.csv", **FEW)
    assert [each.target for each in found] == ["kick", None]
    record = model.evaluate(str(folder.parent / "two.csv"), **FEW)
    assert record.accuracies["top1"] == float(found[0].label == "kick")
    with pytest.raises(UserError, match="no video has a label"):
        model.evaluate(str(folder), **FEW).accuracies  # noqa: B018  # a property that refuses


def test_the_command_takes_sources_anywhere(
    weights: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.csv"
    words = ["predict", str(folder / "1.mp4"), "--checkpoint", str(weights), "--top", "2", *VIEWS]
    words.append(str(folder / "0.mp4"))
    assert main([*words, "--out", str(out)]) == 0
    with out.open(newline="") as file:
        assert [Path(row["path"]).name for row in csv.DictReader(file)] == ["1.mp4", "0.mp4"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.index("1.mp4") < printed.index("0.mp4")
    assert main([*words, str(folder)]) == 1  # one of them cannot be read
    printed = capsys.readouterr()
    assert "1 of 4 videos could not be read" in printed.err
    assert "2.mp4" in printed.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "found.txt", "a.mp4"], "one of .parquet, .csv, .json"),
        ([], "name a video"),
        (["gone.mp4"], "no such file"),
        (["a.mp4", "--classes", "kinetics600"], "has 5 classes, and 600 names were given"),
        (["a.mp4", "--classes", "gone.txt"], "neither a file nor a published list"),
        (["a.mp4", "--precision", "int8"], "precision"),
        (["a.mp4", "--top", "0"], "--top must be at least 1"),
    ],
)
def test_mistakes_are_one_line(
    weights: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["predict", "--checkpoint", str(weights), *words])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_rows_of_one_place_that_disagree_are_named(model: Model, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text(
        "path,start,end,label\n"
        + "".join(
            f"{folder}/{name}.mp4,0,{end},{label}\n"
            for name, end, label in ((0, 1, "hug"), (1, 1, "hug"), (0, 1, "kick"))
        )
    )
    message = r"twice\.csv:4: gives .*0\.mp4#t=0,1 the label 'kick', and .*twice\.csv:2 gives it 'hug'\. Remove one"
    with pytest.raises(UserError, match=message):
        model.evaluate(str(tmp_path / "twice.csv"), **FEW)
    with pytest.raises(UserError, match=message):
        model.predict(tmp_path / "twice.csv", **FEW)
    (tmp_path / "unknown.csv").write_text(f"path,label\n{folder}/0.mp4,a\n{folder}/0.mp4,b\n{folder}/0.mp4,hug\n")
    (score,) = model.evaluate(str(tmp_path / "unknown.csv"), **FEW).scores
    assert score.label == CLASS_NAMES.index("hug")  # what the network does not know tells nothing


def test_of_several_labels_rows_of_one_place_are_joined(model: Model, folder: Path, tmp_path: Path) -> None:
    labels = ("push", "hug;kick", "push;kick")
    (tmp_path / "twice.csv").write_text("path,label\n" + "".join(f"{folder}/0.mp4,{label}\n" for label in labels))
    asked = Asked([str(tmp_path / "twice.csv")], Views(), "sigmoid")
    (score,) = predict_videos(model.recognizer, CLASS_NAMES, asked, progress=False).record.scores
    assert score.label == (0, 1, 4)
