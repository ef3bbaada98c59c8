"""Several labels a video, from the list to the comparison, by the commands that people type."""

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

import videonl as package
from videonl.cli.main import main
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic
from videonl.evaluation import read_record
from videonl.inference import scoring
from videonl.training import ClipModule

Videonl = Callable[..., Any]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "data"
    settings = SyntheticSettings(num_train=13, num_val=7, num_test=11, size_px=38, num_frames=7, num_pairs=2)
    assert write_synthetic(folder, settings) and not write_synthetic(folder, settings)
    return folder


@pytest.fixture(scope="module")
def config(pairs: Path, small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = yaml.safe_load(small_config.read_text())
    content["extends"] = str(Path(content["extends"]).with_name("several_labels_nonlocal.yaml"))
    content["data"] |= {"root": str(pairs)}
    content["data"]["augmentation"] |= {"mixing": {"mixup_alpha": 0.3}}
    content["model"] |= {"label_smoothing": 0.1, "positive_weights": [1.5, 2.0]}
    path = tmp_path_factory.mktemp("configs") / "several.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "several"
    assert main(["fit", "--config", str(config), "--run.dir", str(folder)]) == 0
    return folder


def test_a_checkpoint_knows_its_task_and_its_threshold(run: Path) -> None:
    about = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["videonl"]
    assert about["task"] == "multi_label" and 0 < about["threshold"] < 1
    assert about["class_names"] == ["same_bar_pole", "same_disc_cross"]
    assert yaml.safe_load((run / "config.yaml").read_text())["task"] == "multi_label"


def test_test_evaluate_and_predict_say_the_same(
    videonl: Videonl, run: Path, config: Path, pairs: Path, tmp_path: Path
) -> None:
    best = run / "checkpoints" / "best.ckpt"
    tested = videonl("test", "--config", config, "--ckpt_path", best, "--run.dir", tmp_path / "test")
    assert tested.code == 0 and "mAP" in tested.text, tested.text
    views = ["--num_clips", 2, "--num_crops", 3, "--num_workers", 0]
    source = ["--source", f"{pairs / 'labels.csv'}#test", "--out", tmp_path / "evaluated"]
    evaluated = videonl("evaluate", "--checkpoint", best, *source, *views)
    assert evaluated.code == 0, evaluated.text
    records = [read_record(tmp_path / name) for name in ("test/test.parquet", "evaluated/evaluation.parquet")]
    assert records[0].threshold == records[1].threshold and records[0].average == "sigmoid"
    assert records[0].accuracies == records[1].accuracies
    for one, other in zip(records[0].scores, records[1].scores, strict=True):
        assert one.label == other.label and one.logits.equal(other.logits)
    with (pairs / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    labels = pq.read_table(tmp_path / "evaluated" / "evaluation.parquet")["label"].to_pylist()
    assert labels == [row["labels"] for row in rows]
    model = package.load(best)
    score = records[1].scores[3]
    prediction = model.predict(pairs / rows[3]["path"], num_clips=2)
    assert torch.equal(prediction.logits, score.logits) and prediction.average == "sigmoid"
    assert prediction.labels == [name for name, value in prediction.top(2) if value >= model.threshold]
    assert "%" in str(prediction)
    as_max = model.evaluate(f"{pairs / 'labels.csv'}#test", num_clips=2, average="max", progress=False)
    torch.testing.assert_close(as_max.scores[3].probabilities, score.logits.double().sigmoid().amax(0))
    few = ["--num_clips", 1, "--num_crops", 1]
    predicted = videonl("predict", pairs / "labels.csv", "--checkpoint", best, "--out", tmp_path / "p.csv", *few)
    assert predicted.code == 0, predicted.text
    assert (tmp_path / "p.csv").read_text().count("same_bar_pole") > 31
    compared = videonl(
        "compare", tmp_path / "test/test.parquet", tmp_path / "evaluated/evaluation.parquet", "-o", tmp_path / "c.html"
    )
    assert compared.code == 0 and "mAP" in compared.text and "do not separate" in compared.text
    reported = videonl("report", tmp_path / "test/test.parquet", "--average", "max", "-o", tmp_path / "r.html")
    assert reported.code == 0 and "confusion" not in reported.text
    diagnosed = videonl("diagnose", "--checkpoint", best, *source[:2], "--out", tmp_path / "d", "--num_workers", 0)
    assert diagnosed.code == 0, diagnosed.text


def test_an_evaluation_that_is_cut_off_goes_on(
    videonl: Videonl, run: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", "--checkpoint", run / "checkpoints" / "best.ckpt", "--source", f"{pairs / 'labels.csv'}#test"]
    words += ["--num_clips", 1, "--num_crops", 1, "--num_workers", 0]
    assert videonl(*words, "--out", tmp_path / "whole").code == 0
    scored, scores_of = [], scoring._scores_of

    def until(*arguments: Any) -> Any:
        scored.append(arguments)
        if len(scored) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return scores_of(*arguments)

    monkeypatch.setattr(scoring, "_scores_of", until)
    assert videonl(*words, "--out", tmp_path / "part").code == 143
    monkeypatch.undo()
    assert videonl(*words, "--out", tmp_path / "part").code == 0
    whole, part = ((tmp_path / name / "evaluation.parquet").read_bytes() for name in ("whole", "part"))
    assert whole == part


def test_a_training_that_is_cut_off_ends_as_one_that_is_not(
    videonl: Videonl, run: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(module: ClipModule, batch: Any, number: int) -> None:
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    words = ["fit", "--config", config, "--run.dir", tmp_path / "part"]
    monkeypatch.setattr(ClipModule, "on_train_batch_start", end)
    assert videonl(*words).code == 143
    monkeypatch.undo()
    assert videonl(*words, "--ckpt_path", "last").code == 0
    whole, part = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, tmp_path / "part")
    )
    assert all(whole[name].equal(part[name]) for name in whole)


def test_mistakes_have_clear_words(videonl: Videonl, run: Path, config: Path, small_config: Path, pairs: Path) -> None:
    best = run / "checkpoints" / "best.ckpt"
    for words, message in (
        (["fit", "--config", config, "--task", "several"], "several"),
        (["fit", "--config", config, "--task", "single_label", "--run.dir", run.parent / "new"], "--task multi_label"),
        (["fit", "--config", config, "--model.average", "softmax", "--run.dir", run.parent / "new"], "no meaning"),
        (["test", "--config", small_config, "--ckpt_path", best, "--run.dir", run.parent / "new"], "set --task to it"),
        (["evaluate", "--checkpoint", best, "--source", pairs, "--average", "logits"], "no meaning for this task"),
    ):
        ended = videonl(*words)
        assert ended.code == 2 and message in ended.text and "Traceback" not in ended.text, ended.text


def test_a_shared_network_keeps_its_task(
    videonl: Videonl, run: Path, config: Path, pairs: Path, tmp_path: Path
) -> None:
    assert videonl("test", "--config", run / "config.yaml").code == 0
    shared = videonl("share", run, "--out", tmp_path / "shared")
    assert shared.code == 0, shared.text
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "| mAP |" in card and "type: mean_average_precision" in card
    one, other = package.load(run), package.load(tmp_path / "shared")
    assert one.threshold == other.threshold
    video = min(pairs.glob("test/*.mp4"))
    own, theirs = (model.predict(video, num_clips=1, num_crops=1) for model in (one, other))
    assert own.logits.equal(theirs.logits) and (own.average, own.labels) == (theirs.average, theirs.labels)
    found = other.timeline(video, stride_seconds=0.1, progress=False)
    assert found.probabilities.max() < 1 and abs(found.probabilities.sum(1) - 1).max() > 1e-3  # sigmoids
    out = tmp_path / "clip.json"
    ran = videonl("timeline", video, "--checkpoint", run, "--stride-seconds", 0.1, "--out", out, "--device", "cpu")
    assert ran.code == 0, ran.text
    windows = json.loads(out.read_text())["windows"]
    torch.testing.assert_close(
        torch.tensor([each["probabilities"] for each in windows]), torch.from_numpy(found.probabilities).float()
    )
    refused = videonl("timeline", video, "--checkpoint", run, "--out", out, "--average", "softmax")
    assert refused.code == 2 and "average softmax has no meaning for this task" in refused.text
    (streamed, *_) = other.stream(video, 0.1, realtime=False)
    assert streamed.average == "sigmoid"


def test_an_index_and_prepared_videos_keep_every_label(
    videonl: Videonl, run: Path, pairs: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index.parquet"
    indexed = videonl("index", pairs / "labels.csv", "-o", index, "--check", "packets", "--num_workers", 1)
    assert indexed.code == 0, indexed.text
    told = videonl("doctor", index, "--num_sampled", 0)
    assert told.code == 0 and "same_bar_pole" in told.text and '["' not in told.text
    words = ["evaluate", "--checkpoint", run / "checkpoints" / "best.ckpt", "--num_clips", 1, "--num_crops", 1]
    words += ["--num_workers", 0, "--source"]
    assert videonl(*words, f"{pairs / 'labels.csv'}#test", "--out", tmp_path / "list").code == 0
    assert videonl(*words, f"{index}#test", "--out", tmp_path / "index").code == 0
    of_list, of_index = (read_record(tmp_path / name / "evaluation.parquet") for name in ("list", "index"))
    assert [score.label for score in of_list.scores] == [score.label for score in of_index.scores]
    assert of_list.accuracies == of_index.accuracies
