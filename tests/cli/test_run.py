"""fit, test and predict on real files, from the command line."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

Videonl = Callable[..., object]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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
    assert insertion == {"block": "nonlocal", "after": {"res3": [3]}, "options": {}, "low": None}
    assert checkpoint["videonl"]["clip"]["crop_px"] == 31


def test_saved_config_repeats_the_run(videonl: Videonl, trained: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert videonl("fit", "--config", trained / "config.yaml", "--run.dir", again).code == 0
    first, second = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (trained, again))
    assert all(torch.equal(first["state_dict"][key], value) for key, value in second["state_dict"].items())


def test_resuming_trains_on_from_the_last_epoch(
    videonl: Videonl, trained: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "resumed"
    options = ["--config", small_config, "--run.dir", run]
    assert videonl("fit", *options).code == 0
    assert videonl("fit", *options, "--trainer.max_epochs", 2, "--ckpt_path", "last").code == 0
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert yaml.safe_load((run / "config.yaml").read_text())["ckpt_path"] is None


def test_mixed_precision_trains(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert videonl("fit", "--config", small_config, "--run.dir", run, "--trainer.precision", "bf16-mixed").code == 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]["network.network.blocks.3.res_blocks.3.block.norm.weight"]
    assert weights.dtype == torch.float32
    assert weights.any()  # gamma has left zero, where it starts


def test_overwriting_leaves_nothing_of_the_run_before(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/best.ckpt", "test.csv"):
        (run / name).write_text("of an older run")
    without_validation = ["--data.val", "null", "--run.overwrite", "true"]
    assert videonl("fit", "--config", small_config, "--run.dir", run, *without_validation).code == 0
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt"}
    assert not (run / "test.csv").exists()


def test_a_run_is_not_written_over_by_mistake(videonl: Videonl, trained: Path, small_config: Path) -> None:
    before = (trained / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    refused = videonl("fit", "--config", small_config, "--run.dir", trained)
    assert refused.code == 2
    assert f"{trained} already holds a run" in refused.text
    assert "--run.overwrite" in refused.text
    assert (trained / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_test_writes_one_row_per_video_and_prints_a_table(videonl: Videonl, trained: Path) -> None:
    tested = videonl("test", "--config", trained / "config.yaml")
    assert tested.code == 0
    assert "accuracy on 11 videos" in tested.text
    rows = rows_of(trained / "test.csv")
    assert len({row["path"] for row in rows}) == len(rows) == 11
    for row in rows:
        probabilities = {name: float(row[name]) for name in ("sum_0", "sum_1")}
        assert sum(probabilities.values()) == pytest.approx(1)
        assert row["prediction"] == max(probabilities, key=lambda name: probabilities[name])
        assert Path(row["path"]).parent.name == row["label"]
    top1 = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
    assert f"{100 * top1:.2f} %" in tested.text


def test_predict_writes_scores_of_the_test_videos(videonl: Videonl, trained: Path) -> None:
    videonl("test", "--config", trained / "config.yaml")
    assert videonl("predict", "--config", trained / "config.yaml").code == 0
    assert rows_of(trained / "predictions.csv") == rows_of(trained / "test.csv")


def test_predict_of_one_video_agrees_with_the_test(videonl: Videonl, trained: Path) -> None:
    videonl("test", "--config", trained / "config.yaml")
    row = rows_of(trained / "test.csv")[0]
    checkpoint = trained / "checkpoints" / "best.ckpt"
    views = ["--num_clips", 2, "--num_crops", 3]
    predicted = videonl("predict", "--video", row["path"], "--checkpoint", checkpoint, *views)
    assert predicted.code == 0
    for name in ("sum_0", "sum_1"):
        assert f"{name} │ {100 * float(row[name]):.2f} %" in predicted.text


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
        assert f"videos that could not be read and were replaced by others in epoch {epoch}: 2" in trained.text
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
    assert tested.code == 0
    assert f"skipped {tmp_path / 'empty.mp4'}: the file is empty" in tested.text
    assert "videos that could not be read and have no score: 1" in tested.text
    assert "accuracy on 1 videos" in tested.text
    assert [row["path"] for row in rows_of(tmp_path / "test.csv")] == [str(good)]
