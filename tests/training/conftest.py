"""A small network with norms, dropout and a head, trained on seven real videos within a second."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from videonl.data.augmentation import Augmentation
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat
from videonl.training import ClipModule, Optimization, SeedSteps

OPTIMIZATION = Optimization(lr=0.1, schedule="constant")
CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)


class PowerCutError(Exception):
    """What ends an interrupted training."""


class PowerCut(Callback):
    """Raises before the batch of one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            raise PowerCutError


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv3d(3, 5, (1, 3, 3)), nn.BatchNorm3d(5), nn.ReLU(), nn.Conv3d(5, 7, (1, 3, 3)), nn.BatchNorm3d(7)),
        *(nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(7, 3)),
    )


def small_data(folder: Path, val: bool = True, batch_size: int = 2) -> ClipDataModule:
    loading = Loading(batch_size=batch_size, num_workers=0, decoder="pyav")
    source = str(folder)
    return ClipDataModule(
        source, source if val else None, clip=CLIP, augmentation=Augmentation(short_side_px=(23, 37)), loading=loading
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What Lightning says of trainings as small as these."""
    noise = [
        "ignore:.*does not have many workers",
        "ignore:.*LeafSpec.* is deprecated:FutureWarning",  # Lightning 2.6 with torch 2.15
        "ignore:Checkpoint directory .* exists and is not empty",
        "ignore:Total length of `list` across ranks is zero",
        "ignore:You are using a custom batch sampler",
        "ignore:You're using the WeightAveraging callback with a model that overrides",
        "ignore:Found .* in eval mode at the start of training",
    ]
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for message in noise:
                item.add_marker(pytest.mark.filterwarnings(message))


@pytest.fixture
def network() -> nn.Sequential:
    """The network that ``train`` trains by default."""
    return small_network()


@pytest.fixture
def train(video_folder: Path, tmp_path: Path) -> Callable[..., ClipModule]:
    """``train([callback, ...])`` trains for two epochs of three steps and returns the module, its trainer attached.

    ``until_step`` interrupts before that step, ``resume`` goes on from the last checkpoint of the same ``folder``.
    """

    def run(
        callbacks: Sequence[Callback] = (),
        network: nn.Module | None = None,
        optimization: Optimization = OPTIMIZATION,
        val: bool = True,
        folder: str = "run",
        until_step: int | None = None,
        resume: bool = False,
        **options: Any,
    ) -> ClipModule:
        data = small_data(video_folder, val)
        # Within epochs only where the training is to be interrupted: at their end it is after the validation.
        when = {"every_n_train_steps": 1} if until_step or resume else {"save_on_train_epoch_end": True}
        saving = ModelCheckpoint(tmp_path / folder, filename="last", enable_version_counter=False, **when)
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            callbacks=[SeedSteps(5), *callbacks, saving, *([PowerCut(until_step)] if until_step else [])],
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **{"max_epochs": 2, **options},
        )
        # With channels innermost, torch's own batch norm rounds to 1e-5 in float32.
        module = ClipModule(network or small_network(), data.class_names, CLIP, optimization, channels_last=False)
        if until_step:
            with pytest.raises(PowerCutError):
                trainer.fit(module, data)
        else:
            trainer.fit(module, data, ckpt_path=tmp_path / folder / "last.ckpt" if resume else None)
        return module

    return run
