"""TensorBoard, runs without a logger, and logs that change nothing about the training."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Videonl = Callable[..., Any]


def events_of(folder: Path) -> Any:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


def test_tensorboard_shows_numbers_confusions_and_classes(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    words = ["fit", "--config", small_config, "--run.dir", tmp_path, "--run.tensorboard", "true"]
    assert videonl(*words).code == 0
    assert videonl(*words, "--ckpt_path", "last", "--trainer.max_epochs", 2).code == 0
    events = events_of(tmp_path / "tensorboard" / "fit")
    scalars = {
        "train/loss_step",
        "val/top1",
        "lr-AdamW/network affinities",
        "throughput/clips_per_second",
        "blocks/res3.0/gamma",
    }
    assert scalars <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("val/top1")] == [1, 3]  # of both trainings
    assert len(events.Images("val/confusion")) == 2
    (text, _) = events.Tensors("val/classes/text_summary")
    table = text.tensor_proto.string_val[0].decode().splitlines()
    assert table[0] == "| class | videos | accuracy | most often taken for | how many |"
    assert {row.split(" | ")[0] for row in table[2:]} == {"| sum_0", "| sum_1"}
    assert videonl(*words, "--run.overwrite", "true").code == 0
    assert [event.step for event in events_of(tmp_path / "tensorboard" / "fit").Scalars("val/top1")] == [1]


def test_a_logger_of_the_configuration_takes_the_place_of_ours(
    videonl: Videonl, small_config: Path, tmp_path: Path
) -> None:
    named = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", tmp_path / "own"]
    assert videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", *named).code == 0
    assert list((tmp_path / "own").rglob("events.*"))
    assert not (tmp_path / "run" / "logs").exists()


@pytest.mark.parametrize(
    "option", ["--run.tensorboard true", "--trainer.logger TensorBoardLogger --trainer.logger.save_dir x"]
)
def test_without_the_package_the_message_says_how_to_get_it(
    videonl: Videonl, small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(f"lightning.fabric.loggers.tensorboard.{name}", False)
    ran = videonl("fit", "--config", small_config, "--run.dir", tmp_path, *option.split())
    assert ran.code == 2
    assert 'pip install "videonl[tensorboard]"' in ran.text
    assert "Traceback" not in ran.text


def test_a_training_without_loggers(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    assert videonl("fit", "--config", small_config, "--run.dir", tmp_path, "--trainer.logger", "false").code == 0
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()
    assert not (tmp_path / "logs").exists()


def test_a_log_that_cannot_be_written_does_not_end_the_training(
    videonl: Videonl, small_config: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("where the folder should be")
    ran = videonl("fit", "--config", small_config, "--run.dir", tmp_path)
    assert ran.code == 0
    assert ran.text.count("CSVLogger failed") == 1
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights_with_all_logs_and_with_none(
    small_config: Path, tmp_path: Path
) -> None:
    every = ["--run.wandb", "offline", "--run.tensorboard", "true", "--run.diagnosed_clips", "3"]
    none = ["--trainer.logger", "false", "--run.diagnosed_clips", "0"]
    weights = []
    for name, options in (("every", every), ("none", none)):
        words = ["fit", "--config", small_config, "--run.dir", tmp_path / name, *options]
        words += ["--trainer.strategy", "ddp", "--trainer.devices", 2, "--trainer.max_epochs", 2]
        command = [sys.executable, "-W", "ignore", "-m", "videonl", *map(str, words), "--data.loading.batch_size", "2"]
        # Lightning gives each process its share of the threads, and another number of threads rounds sums differently.
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
        assert ended.returncode == 0, ended.stderr
        weights.append(torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(weights[1][name], weight) for name, weight in weights[0].items())
    tags = events_of(tmp_path / "every" / "tensorboard" / "fit").Tags()["scalars"]
    assert {"blocks/res3.0/entropy", "throughput/clips_per_second_epoch"} <= set(tags)
