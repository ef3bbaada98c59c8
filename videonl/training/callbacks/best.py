"""The checkpoint with the best validation accuracy."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt``, by what the validation videos say.

    It has a class of its own because the trainer tells the states of two ``ModelCheckpoint`` apart by their settings
    alone: a configuration may name another one that watches the same accuracy, such as to keep the k best.

    Args:
        directory: Where the file goes.
        monitor: The metric that is highest for the best checkpoint, such as ``val/top1``.
    """

    def __init__(self, directory: Path, monitor: str) -> None:
        super().__init__(directory, filename="best", enable_version_counter=False, monitor=monitor, mode="max")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps it; without validations, as with ``limit_val_batches: 0``, there is nothing to compare."""
        if trainer.enable_validation:
            super().on_train_epoch_end(trainer, pl_module)


def adopt_best(states: dict[str, Any]) -> None:
    """Renames, in place, the state that checkpoints of version 0.1 keep as that of a plain ``ModelCheckpoint``."""
    own = BestCheckpoint(Path(), "val/top1").state_key
    plain = own.replace(BestCheckpoint.__qualname__, ModelCheckpoint.__qualname__)
    if plain in states and own not in states:
        states[own] = states.pop(plain)
