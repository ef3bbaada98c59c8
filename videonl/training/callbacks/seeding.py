"""Randomness within a training step, such as dropout."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from videonl.data.randomness import hashed


class SeedSteps(Callback):
    """Seeds each training step, so that dropout too is a function of (seed, epoch, step, process) alone.

    A training that is resumed in the middle of an epoch then goes on exactly as it would have.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seeds the generators of all devices."""
        torch.manual_seed(hashed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))
