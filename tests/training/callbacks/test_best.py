"""The best checkpoint, beside others of the same kind."""

from pathlib import Path

import pytest
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from videonl.training.callbacks import BestCheckpoint, TrainingBar
from videonl.training.callbacks.best import adopt_best


def test_its_state_is_told_from_that_of_another_one(tmp_path: Path) -> None:
    own, other = BestCheckpoint(tmp_path, "val/top1"), ModelCheckpoint(tmp_path, monitor="val/top1", mode="max")
    assert own.state_key != other.state_key


def test_the_state_of_version_0_1_is_adopted_once(tmp_path: Path) -> None:
    own, plain = BestCheckpoint(tmp_path, "val/top1"), ModelCheckpoint(tmp_path, monitor="val/top1", mode="max")
    states = {plain.state_key: {"best_model_score": 0.7}, "Other": {}}
    adopt_best(states)
    assert states == {own.state_key: {"best_model_score": 0.7}, "Other": {}}
    states[plain.state_key] = {"best_model_score": 0.3}  # now another one's
    adopt_best(states)
    assert states[own.state_key] == {"best_model_score": 0.7}
    assert states[plain.state_key] == {"best_model_score": 0.3}


def test_the_bar_shows_what_fits_into_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = {"train/loss": 0.5, "train/loss_step": 0.25, "train/loss_epoch": 0.5, "val/top1": 0.75, "val/top5": 1.0}
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    monkeypatch.setattr(Trainer, "progress_bar_metrics", logged)
    assert TrainingBar("val/top1").get_metrics(trainer, LightningModule()) == {"loss": 0.25, "val": 0.75}
