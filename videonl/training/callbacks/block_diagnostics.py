"""The attention blocks during a training: their gain, and the entropy of their attention."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader

from videonl.data.batches import collate_evaluation
from videonl.data.datamodule import ClipDataModule
from videonl.data.dataset import EvaluationVideos
from videonl.data.loader import worker_options
from videonl.data.transforms import Views
from videonl.diagnostics.saturation import Softmax, measure_softmax, saturation
from videonl.errors import UserError
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)


class BlockDiagnostics(Callback):
    """After each epoch logs ``blocks/NAME/gamma`` and ``blocks/NAME/entropy`` for every inserted block.

    ``gamma`` is the root mean square of the gains of the norm (or of a block's own ``gamma``) that scales the block's
    change: 0 at initialization, where a block is the identity. ``entropy`` is that of the attention weights
    divided by the logarithm of the number of keys: 1 for uniform attention, 0 for a single key;
    the mean over 64 evenly spaced queries of the same few clips each time. Not logged are the gain of a block without a
    norm, and the entropy of weights that are not a distribution or are uniform by definition (SE).
    ``videonl diagnose`` measures the same over a whole data set. A block whose softmax saturates is named once, with
    what to change.

    The training does not change: only the first process runs its network, on one clip at a time, in evaluation mode,
    without gradients and without drawing random numbers.

    Args:
        num_clips: Number of videos, one middle clip each, evenly spaced in the validation set, or the training set.

    Raises:
        UserError: ``num_clips`` is less than one.
    """

    def __init__(self, num_clips: int = 4) -> None:
        if num_clips < 1:
            raise UserError(f"run.diagnosed_clips must be at least 1, or 0 for no diagnostics, got {num_clips}")
        self.num_clips = num_clips
        self._clips: Tensor | None = None
        self._saturated: set[str] = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs both for all blocks."""
        assert isinstance(pl_module, ClipModule)
        blocks: Mapping[str, Any] = getattr(pl_module.network, "blocks", {})
        if not blocks or not trainer.is_global_zero or not _is_whole(trainer):
            return
        if self._clips is None:
            self._clips = fixed_clips(trainer.datamodule, self.num_clips)  # type: ignore[attr-defined]  # set by the trainer's loops
        values: dict[str, Any] = dict(gains(blocks))
        if len(self._clips):
            with trainer.precision_plugin.forward_context():
                found = measure_softmax(pl_module, blocks, self._clips.to(pl_module.device))
            values |= {f"{name}/entropy": softmax.entropy for name, softmax in found.items()}
            self._warn(found)
        pl_module.log_dict(
            {f"blocks/{name}": value for name, value in values.items()}, sync_dist=True, rank_zero_only=True
        )

    def _warn(self, found: Mapping[str, Softmax]) -> None:
        for name, softmax in found.items():
            text = saturation(softmax.num_read, softmax.affinity)
            if text and name not in self._saturated:
                self._saturated.add(name)
                logger.warning("block %s %s", name, text)


def _is_whole(trainer: Trainer) -> bool:
    """Whether one process has all weights, so that it can run the network by itself."""
    return trainer.world_size == 1 or isinstance(trainer.strategy, DDPStrategy)


def fixed_clips(data: ClipDataModule, num_clips: int) -> Tensor:
    """The middle clips of some videos, always the same, uint8 (B, 3, T, H, W); fewer if a file cannot be read."""
    videos, loading = data.videos.get("val") or data.videos["train"], data.loading
    chosen = [videos[place * len(videos) // num_clips] for place in range(min(num_clips, len(videos)))]
    limit = loading.time_limit_seconds or None
    loader = DataLoader(
        EvaluationVideos(chosen, data.clip, Views(), loading.decoder, limit, data.label_columns),
        batch_size=max(len(chosen), 1),
        collate_fn=collate_evaluation,
        generator=torch.Generator(),  # its own, because a loader draws a seed
        **worker_options(min(loading.num_workers, 1)),
    )
    batch = next(iter(loader))
    for failure in batch["failures"]:
        logger.warning("%s cannot be read and is excluded from the blocks' diagnostics: %s", *failure)
    clips: Tensor = batch["clip"]
    return clips


def gains(blocks: Mapping[str, Any]) -> dict[str, float]:
    """``NAME/gamma``: the size of each block's gain, where it has one of no unit (see ``AttentionBlock.gain``)."""
    found = {name: block.gain() for name, block in blocks.items()}
    return {f"{name}/gamma": gain.value for name, gain in found.items() if gain and gain.of != "W"}
