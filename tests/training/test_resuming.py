"""A training that is interrupted between two steps goes on as if it had not been: same batches, same dropout."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from videonl.data.augmentation import Augmentation
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.mixing import Mixing
from videonl.data.transforms import ClipFormat
from videonl.training import ClipModule, LastCheckpoint, SeedSteps

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)


class PowerCutError(Exception):
    pass


class Recorder(Callback):
    """Notes each batch, and raises before the batch of one step."""

    def __init__(self, until_step: int) -> None:
        self.until_step = until_step
        self.seen: list[tuple[int, list[int], float]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.until_step:
            raise PowerCutError
        self.seen.append((trainer.current_epoch, batch["video"], float(batch["clip"].double().sum())))


def fit(video_folder: Path, directory: Path, num_workers: int, until_step: int = -1, resume: bool = False) -> Any:
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(24, 7), nn.Dropout(0.5), nn.Linear(7, 3))
    torch.manual_seed(len(str(directory)) + until_step)  # what was drawn before must not matter
    data = ClipDataModule(
        train=str(video_folder),
        clip=CLIP,
        augmentation=Augmentation(short_side_px=(23, 37), mixing=Mixing(mixup_alpha=0.5, cutmix_alpha=0.5)),
        loading=Loading(batch_size=2, num_workers=num_workers),
    )
    recorder = Recorder(until_step)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        callbacks=[recorder, SeedSteps(5), LastCheckpoint(directory / "last.ckpt", 1)],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    module = ClipModule(network, data.class_names, CLIP)
    if until_step < 0:
        trainer.fit(module, data, ckpt_path=directory / "last.ckpt" if resume else None)
    else:
        with pytest.raises(PowerCutError):
            trainer.fit(module, data)
    return recorder.seen, module.state_dict()


@pytest.mark.parametrize(("num_workers", "until_step"), [(0, 2), (0, 3), (2, 4), (0, 5)])
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # Lightning 2.6 with torch 2.15
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    video_folder: Path, tmp_path: Path, num_workers: int, until_step: int
) -> None:
    whole, weights = fit(video_folder, tmp_path / "whole", num_workers)
    assert len(whole) == 9  # 7 videos in batches of 2, three times
    before, _ = fit(video_folder, tmp_path / "parts", num_workers, until_step)
    after, resumed_weights = fit(video_folder, tmp_path / "parts", num_workers, resume=True)
    assert len(before) == until_step
    assert before + after == whole
    assert all(torch.equal(resumed_weights[name], weight) for name, weight in weights.items())
