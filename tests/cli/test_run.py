"""fit, test and predict on real files, from the command line."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from videonl.cli.main import main
from videonl.evaluation import VideoScore, read_record

Videonl = Callable[..., object]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def record_of(path: Path) -> dict[str, VideoScore]:
    return {score.path: score for score in read_record(path).scores}


def test_fit_keeps_config_checkpoints_and_log(trained: Path) -> None:
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["model"]["network"]["init_args"]["width"] == 3
    assert "extends" not in config
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    logged = rows_of(trained / "logs" / "fit" / "version_0" / "metrics.csv")
    assert sum(row["train/loss_step"] != "" for row in logged) == 2  # 13 clips in batches of 5
    assert any(row["val/top1"] for row in logged)


def test_checkpoint_is_plain_data_and_describes_the_network(trained: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["videonl"]["class_names"] == ["sum_0", "sum_1"]
    (insertion,) = checkpoint["videonl"]["network"]["blocks"]
    assert insertion == {"block": "nonlocal", "after": {"res3": [0]}, "options": {}, "low": None}
    assert checkpoint["videonl"]["clip"]["crop_px"] == 31


def test_saved_config_repeats_the_run(videonl: Videonl, trained: Path, tmp_path: Path) -> None:
    # Both here: in the last digit results depend on the state of the process, which other tests change.
    runs = [tmp_path / "once", tmp_path / "again"]
    for config, run in zip((trained, runs[0]), runs, strict=True):
        assert videonl("fit", "--config", config / "config.yaml", "--run.dir", run).code == 0
    first, second = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in runs)
    assert all(torch.equal(first["state_dict"][key], value) for key, value in second["state_dict"].items())


def test_mixed_precision_trains(videonl: Videonl, c2d_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert videonl("fit", "--config", c2d_config, "--run.dir", run, "--trainer.precision", "bf16-mixed").code == 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]["network.network.blocks.3.res_blocks.3.block.norm.weight"]
    assert weights.dtype == torch.float32
    assert weights.any()  # gamma has left zero, where it starts


@pytest.mark.parametrize("precision", ["bf16-true", pytest.param("64-true", marks=pytest.mark.slow)])
def test_other_precisions_train_and_score(videonl: Videonl, c2d_config: Path, tmp_path: Path, precision: str) -> None:
    words = ["--config", c2d_config, "--run.dir", tmp_path, "--trainer.precision", precision]
    fitted = videonl("fit", *words, "--data.augmentation.mixing", "{mixup_alpha: 0.5}")
    assert fitted.code == 0, fitted.text
    assert videonl("test", *words).code == 0
    weights = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert {weight.dtype for weight in weights.values() if weight.is_floating_point()} == {
        torch.bfloat16 if precision == "bf16-true" else torch.float64
    }


def test_a_dry_run_leaves_a_folder_as_it_is(videonl: Videonl, trained: Path, small_config: Path) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    for options in (["--run.overwrite", "true"], ["--ckpt_path", "last"]):
        words = ["--config", small_config, "--run.dir", trained, "--trainer.fast_dev_run", "true", *options]
        dry = videonl("fit", *words)
        assert dry.code == 0, dry.text
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_overwriting_leaves_nothing_of_the_run_before(
    videonl: Videonl, trained: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for name in ("test.parquet", "test.html", "index.parquet"):
        (run / name).write_text("of an older run")
    without_validation = ["--data.val", "null", "--run.overwrite", "true"]
    assert videonl("fit", "--config", small_config, "--run.dir", run, *without_validation).code == 0
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt"}
    assert not {path.name for path in run.iterdir()} & {"test.parquet", "test.html"}
    assert (run / "index.parquet").exists()  # not one of ours


def test_a_run_is_not_written_over_by_mistake(videonl: Videonl, trained: Path, small_config: Path) -> None:
    before = (trained / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    refused = videonl("fit", "--config", small_config, "--run.dir", trained)
    assert refused.code == 2
    assert f"{trained} already holds a run" in refused.text
    assert "--run.overwrite" in refused.text
    assert (trained / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_fit_says_what_a_validation_scores(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    fitted = videonl("fit", "--config", small_config, "--run.dir", tmp_path, "--trainer.limit_train_batches", 1)
    assert "validation scores 1 clip x 1 crop of 31 px of each video, always the same" in fitted.text
    assert fitted.text.count("a test scores 2 clips x 3 crops of 31 px") == 1


def test_test_records_every_view_and_prints_a_table(videonl: Videonl, trained: Path, clips: Path) -> None:
    tested = videonl("test", "--config", trained / "config.yaml")
    assert tested.code == 0
    assert "accuracy on 11 videos" in tested.text
    record = read_record(trained / "test.parquet")
    assert {score.path for score in record.scores} == {str(path) for path in (clips / "test").glob("*/*.mp4")}
    for score in record.scores:
        assert score.views == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))
        assert score.logits.shape == (6, 2)
        assert Path(score.path).parent.name == record.class_names[score.label]
    assert record.about["views"] == "2 clips x 3 crops of 31 px"
    top1 = sum(score.label == score.prediction for score in record.scores) / len(record.scores)
    assert f"{100 * top1:.2f} %" in tested.text
    assert f"{100 * top1:.1f} %" in (trained / "test.html").read_text()
    Image.open(trained / "test_confusion.png").verify()


@pytest.fixture(scope="module")
def tested(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a test."""
    assert main(["test", "--config", str(trained / "config.yaml")]) == 0
    return shutil.copy(trained / "test.parquet", tmp_path_factory.mktemp("tested") / "test.parquet")


def test_predict_records_the_scores_of_the_test_videos(videonl: Videonl, trained: Path, tested: Path) -> None:
    assert videonl("predict", "--config", trained / "config.yaml").code == 0
    assert (trained / "predictions.parquet").read_bytes() == tested.read_bytes()


def test_predict_of_one_video_agrees_with_the_test(videonl: Videonl, trained: Path, tested: Path) -> None:
    path, score = next(iter(record_of(tested).items()))
    checkpoint = trained / "checkpoints" / "best.ckpt"
    views = ["--num_clips", 2, "--num_crops", 3]
    predicted = videonl("predict", "--video", path, "--checkpoint", checkpoint, *views)
    assert predicted.code == 0
    for name, probability in zip(("sum_0", "sum_1"), score.probabilities.tolist(), strict=True):
        assert f"{name} │ {100 * probability:.2f} %" in predicted.text


def test_corrupt_video_is_skipped_named_and_counted(
    videonl: Videonl, small_config: Path, clips: Path, tmp_path: Path
) -> None:
    videos = sorted((clips / "train").glob("*/*.mp4"))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video" * 97)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(videos[0].read_bytes()[:499])
    rows = [f"{video},{video.parent.name}" for video in videos] + [f"{broken},sum_0", f"{cut},sum_1"]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    run = tmp_path / "run"
    source = ["--data.train", tmp_path / "train.csv", "--data.val", "val", "--trainer.max_epochs", 2]
    trained = videonl("fit", "--config", small_config, "--run.dir", run, *source)
    assert trained.code == 0
    for path in (broken, cut):
        assert trained.text.count(f"skipped {path}") == 1
    for epoch in range(2):
        assert f"unreadable videos that were replaced by others in epoch {epoch}: 2" in trained.text
    logged = rows_of(run / "logs" / "fit" / "version_0" / "metrics.csv")
    assert [float(row["train/unreadable_videos"]) for row in logged if row["train/unreadable_videos"]] == [2, 2]


def test_unreadable_test_video_is_named_and_has_no_row(
    videonl: Videonl, trained: Path, clips: Path, tmp_path: Path
) -> None:
    good = next((clips / "test").glob("*/*.mp4"))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "test.csv").write_text(f"{good} {good.parent.name}\n{tmp_path / 'empty.mp4'} sum_0\n")
    options = ["--data.test", tmp_path / "test.csv", "--run.dir", tmp_path, "--ckpt_path"]
    tested = videonl("test", "--config", trained / "config.yaml", *options, trained / "checkpoints" / "last.ckpt")
    assert tested.code == 1
    assert f"skipped {tmp_path / 'empty.mp4'}: the file is empty" in tested.text
    assert "unreadable videos that have no score: 1" in tested.text
    assert "accuracy on 1 of 2 videos, 1 unreadable" in tested.text
    record = read_record(tmp_path / "test.parquet")
    assert [score.path for score in record.scores] == [str(good)]
    assert record.unreadable == {str(tmp_path / "empty.mp4"): "the file is empty"}
    assert "1 video could not be read and has no score" in (tmp_path / "test.html").read_text()
    allowed = [trained / "checkpoints" / "last.ckpt", "--data.loading.max_failed_share", 0.5]
    assert videonl("test", "--config", trained / "config.yaml", *options, *allowed).code == 0


def test_folding_changes_scores_by_rounding_alone(videonl: Videonl, trained: Path) -> None:
    config = trained / "config.yaml"
    scores = []
    for fold in ("true", "false"):
        assert videonl("test", "--config", config, "--run.fold", fold).code == 0
        scores.append(read_record(trained / "test.parquet").scores)
    for folded, whole in zip(*scores, strict=True):
        assert folded.path == whole.path
        torch.testing.assert_close(folded.probabilities, whole.probabilities, rtol=0, atol=1e-5)


def test_multigrid_is_told_of_and_logged(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    words = ["fit", "--config", small_config, "--run.dir", tmp_path / "run", "--trainer.max_epochs", "3"]
    cycle = ["--data.multigrid.cycle_ends", "[0.5]", "--data.multigrid.long_cycle", "[[0.6, 0.7071], [1, 1]]"]
    ended = videonl(*words, *cycle)
    assert ended.code == 0, ended.text
    assert "multigrid: long cycles that end at 50 % of the steps; clips x frames x px in equal parts" in ended.text
    assert "30 x 3 x 16, 15 x 3 x 22; learning rate x 3" in ended.text
    assert "and 5 x 5 x 31 to the end" in ended.text
    assert "epoch 2: from here on clips x frames x px are 5 x 5 x 31" in ended.text
    with (tmp_path / "run" / "logs" / "fit" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["multigrid/clips"]]
    shapes = [[int(float(row[f"multigrid/{name}"])) for name in ("clips", "num_frames", "crop_px")] for row in rows]
    assert shapes == [[30, 3, 16], [15, 3, 22], *[[5, 5, 31]] * 4]


def test_uneven_classes_are_drawn_and_weighed_as_asked(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    words = ["fit", "--config", small_config, "--run.dir", tmp_path / "run", "--data.balance", "{sum_0: 3}"]
    ended = videonl(*words, "--model.loss.class_weights", "inverse", "--model.loss.logit_adjustment", "1")
    assert ended.code == 0, ended.text
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["data"]["balance"] == {"sum_0": 3} and saved["model"]["loss"]["class_weights"] == "inverse"
    refused = videonl(*words[:3], "--data.balance", "{jump: 3}", "--run.dir", tmp_path / "other")
    assert refused.code == 2 and "'jump' is not one of the classes (sum_0, sum_1)" in refused.text, refused.text
    assert not (tmp_path / "other").exists()
