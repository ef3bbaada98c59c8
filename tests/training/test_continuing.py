"""Wherever a training is cut off, resumed it ends with the weights, optimizer, best checkpoint and log of a whole."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from torch import nn

from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat
from videonl.training import ClipModule, Continuation, LastCheckpoint, Optimization, SeedSteps, UnreadableVideos
from videonl.training.callbacks import BestCheckpoint
from videonl.training.checkpoint_files import WholeCheckpoints
from videonl.training.continued_log import ContinuedCSVLogger

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),  # Lightning 2.6 with torch 2.15
    # Where a training that ends within an epoch is resumed after the last validation.
    pytest.mark.filterwarnings("ignore:.*could not find the monitored key"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class PowerCutError(Exception):
    pass


class Moments:
    """Counts what a training does to its files and with its batches, and cuts it off at one of these moments."""

    def __init__(self, cut_at: int | None) -> None:
        self.cut_at = cut_at
        self.num = 0
        self.is_cut = False

    def pass_one(self) -> None:
        if self.num == self.cut_at:
            self.is_cut = True
            raise PowerCutError
        self.num += 1

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def cut_before_or_after(*arguments: Any, **options: Any) -> Any:
            self.pass_one()
            result = function(*arguments, **options)
            self.pass_one()
            return result

        return cut_before_or_after


def fit(
    videos: Path,
    run: Path,
    cut_at: int | None = None,
    patience: int = 0,
    schedule: Literal["step", "constant"] = "step",
    **options: Any,
) -> Moments:
    """One start of a training by a command that resumes wherever it can; with patience, after the first epoch."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(24, 7), nn.Dropout(0.5), nn.Linear(7, 3))
    loading = Loading(batch_size=2, num_workers=0, decoder="pyav")
    data = ClipDataModule(train=str(videos), val=str(videos), clip=CLIP, loading=loading)
    last = run / "last.ckpt"
    logger = ContinuedCSVLogger(str(run), "log", continued=True)
    best = BestCheckpoint(run, "val/top1")
    callbacks = [SeedSteps(5), Continuation(), UnreadableVideos(), LearningRateMonitor("step"), best]
    if patience:
        callbacks.append(EarlyStopping("val/top1", mode="max", patience=patience, min_delta=2.0))
    trainer = Trainer(
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        callbacks=[*callbacks, LastCheckpoint(last, every_num_steps=1)],
        plugins=[WholeCheckpoints()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **{"max_epochs": 2, **options},
    )
    module = ClipModule(network, data.class_names, CLIP, Optimization(schedule=schedule))
    moments = Moments(cut_at)
    trainer.save_checkpoint = moments.around(trainer.save_checkpoint)  # type: ignore[method-assign]  # cut off
    logger.log_metrics = moments.around(logger.log_metrics)  # type: ignore[method-assign]  # cut off
    module.validation_step = moments.around(module.validation_step)  # type: ignore[method-assign]  # cut off
    save = logger.save
    # A power cut does not save what is left to log, as the trainer does after an exception.
    logger.save = lambda: None if moments.is_cut else save()  # type: ignore[method-assign]  # cut off
    resumed = last if last.exists() else None
    if cut_at is None:
        trainer.fit(module, data, ckpt_path=resumed)
    else:
        with pytest.raises(PowerCutError):
            trainer.fit(module, data, ckpt_path=resumed)
    return moments


def everything(run: Path) -> str:
    """Weights, optimizer, schedule and progress of both checkpoints, and the log."""
    names = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
    checkpoints = [torch.load(run / f"{name}.ckpt", weights_only=True) for name in ("last", "best")]
    torch.set_printoptions(precision=17, threshold=10_000)
    text = str([[checkpoint[name] for name in names] for checkpoint in checkpoints])
    torch.set_printoptions(profile="default")
    return text + (run / "log" / "version_0" / "metrics.csv").read_text()


def check(videos: Path, tmp_path: Path, every: int, **options: Any) -> None:
    moments = fit(videos, tmp_path / "whole", **options)
    whole = everything(tmp_path / "whole")
    for cut_at in range(0, moments.num, every):
        run = tmp_path / str(cut_at)
        fit(videos, run, cut_at, **options)
        fit(videos, run, **options)
        assert everything(run) == whole, cut_at


VARIANTS: list[dict[str, Any]] = [
    {},
    {"val_check_interval": 2},
    {"val_check_interval": 2, "check_val_every_n_epoch": None},
    {"check_val_every_n_epoch": 2},
    {"accumulate_grad_batches": 2},
    {"limit_train_batches": 2},
    {"max_steps": 4},
    {"patience": 1, "max_epochs": 4},
    {"patience": 1, "max_epochs": 4, "val_check_interval": 2},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_a_training_that_was_cut_off_ends_like_a_whole_one(
    video_folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    check(video_folder, tmp_path, every=13, **options)


@pytest.mark.slow
@pytest.mark.parametrize("options", VARIANTS)
def test_wherever_a_training_is_cut_off_it_ends_like_a_whole_one(
    video_folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    check(video_folder, tmp_path, every=1, **options)


def test_a_training_that_was_stopped_early_stays_so(video_folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        fit(video_folder, tmp_path, patience=1, max_epochs=4)
        assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")  # early stopping is left out
@pytest.mark.parametrize("within", [{"max_steps": 4}, {"patience": 1}])
@pytest.mark.parametrize("more", [{"max_steps": 8, "max_epochs": None}, {"max_epochs": 3}])
def test_a_training_that_ended_within_an_epoch_goes_on_within_it_when_it_is_given_more(
    video_folder: Path, tmp_path: Path, within: dict[str, Any], more: dict[str, Any]
) -> None:
    steady: dict[str, Any] = {"schedule": "constant", "val_check_interval": 2}
    fit(video_folder, tmp_path / "whole", **steady, **more)
    fit(video_folder, tmp_path / "parts", **steady, **within)
    assert torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["global_step"] % 3  # steps of an epoch
    fit(video_folder, tmp_path / "parts", **steady, **more)
    whole, parts = (torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("whole", "parts"))
    for name in ("epoch", "global_step"):
        assert parts[name] == whole[name]
    assert all(torch.equal(parts["state_dict"][name], weight) for name, weight in whole["state_dict"].items())
    assert str(parts["optimizer_states"]) == str(whole["optimizer_states"])
    # The log has all that it would have, and what was logged where the first part ended.
    rows = [(tmp_path / run / "log" / "version_0" / "metrics.csv").read_text().split() for run in ("whole", "parts")]
    assert set(rows[0]) <= set(rows[1])


@pytest.mark.parametrize("limit", [{"limit_train_batches": 2}, {}])
def test_after_an_epoch_of_few_batches_a_changed_list_begins_the_next(
    video_folder: Path, tmp_path: Path, limit: dict[str, Any]
) -> None:
    videos = sorted(video_folder.glob("*/*.mp4"))
    rows = [f"{path} {path.parent.name}" for path in videos]
    longer = tmp_path / "longer.txt"
    longer.write_text("\n".join([*rows, *rows[:4]]))  # 11 videos: 5 batches
    fit(video_folder, tmp_path / "run", limit_train_batches=2, max_epochs=1)
    fit(longer, tmp_path / "run", schedule="constant", max_epochs=2, **limit)
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 1
    assert last["global_step"] == 2 + (2 if limit else 5)
    assert last["ClipDataModule"]["videos"] == 11
    assert last["ClipDataModule"]["is_over"]


def test_rows_are_on_the_disk_when_a_checkpoint_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = ContinuedCSVLogger(str(tmp_path), "log", continued=False)
    logger.log_metrics({"loss": 0.5}, step=3)
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    assert logger.experiment.settle() == 1
    assert flushed[-1] == (tmp_path / "log" / "version_0" / "metrics.csv").stat().st_size > 0
