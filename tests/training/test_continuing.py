"""Wherever a training is cut off, resumed it ends with the weights, optimiser, best checkpoint and log of a whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from torch import nn

from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat
from videonl.training import ClipModule, Continuation, LastCheckpoint, SeedSteps, UnreadableVideos
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


def fit(videos: Path, run: Path, cut_at: int | None = None, **options: Any) -> Moments:
    """One start of a training by a command that resumes wherever it can."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(24, 7), nn.Dropout(0.5), nn.Linear(7, 3))
    loading = Loading(batch_size=2, num_workers=0, decoder="pyav")
    data = ClipDataModule(train=str(videos), val=str(videos), clip=CLIP, loading=loading)
    last = run / "last.ckpt"
    logger = ContinuedCSVLogger(str(run), "log", continued=True)
    best = ModelCheckpoint(run, filename="best", enable_version_counter=False, monitor="val/top1", mode="max")
    callbacks = [SeedSteps(5), Continuation(), UnreadableVideos(), LearningRateMonitor("step"), best]
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        callbacks=[*callbacks, LastCheckpoint(last, every_num_steps=1)],
        plugins=[WholeCheckpoints()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    module = ClipModule(network, data.class_names, CLIP)
    moments = Moments(cut_at)
    trainer.save_checkpoint = moments.around(trainer.save_checkpoint)  # type: ignore[method-assign]
    logger.log_metrics = moments.around(logger.log_metrics)  # type: ignore[method-assign]
    module.validation_step = moments.around(module.validation_step)  # type: ignore[method-assign]
    save = logger.save
    # A power cut does not save what is left to log, as the trainer does after an exception.
    logger.save = lambda: None if moments.is_cut else save()  # type: ignore[method-assign]
    resumed = last if last.exists() else None
    if cut_at is None:
        trainer.fit(module, data, ckpt_path=resumed)
    else:
        with pytest.raises(PowerCutError):
            trainer.fit(module, data, ckpt_path=resumed)
    return moments


def everything(run: Path) -> str:
    """Weights, optimiser, schedule and progress of both checkpoints, and the log."""
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


VARIANTS: list[dict[str, Any]] = [{}, {"val_check_interval": 2}, {"accumulate_grad_batches": 2}, {"max_steps": 4}]


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
