"""Names and counts unreadable files, and ends the run if there are too many."""

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from videonl.data.loader import are_too_many
from videonl.errors import UserError
from videonl.runtime.gathering import gathered

logger = logging.getLogger(__name__)
_CHECK_EVERY_BATCHES = 50


class _Tally:
    """How many videos were tried in an epoch or an evaluation, each of them once, and which could not be read."""

    def __init__(self) -> None:
        self.num_tried = 0
        self.reasons: dict[str, str] = {}

    def require_one(self) -> None:
        """Raise a UserError when none of the videos tried could be read: the trainer would lack a metric."""
        num_tried, reasons = self._everyones()
        if reasons and len(reasons) == num_tried:
            raise UserError(
                f"none of the {num_tried} validation videos could be read, so there is no accuracy:\n"
                f"{_listed(reasons)}\nRepair or replace them, or train without validation: --data.val null"
            )

    def check(self, most: float) -> None:
        """Raise a UserError when more than this share of all processes' videos could not be read."""
        num_tried, reasons = self._everyones()
        if are_too_many(len(reasons), num_tried, most):
            raise UserError(
                f"{len(reasons)} of {num_tried} videos could not be read, more than the share of {most:g} that "
                f"--data.loading.max_failed_share allows:\n{_listed(reasons)}\n"
                "Repair or remove them, or allow a larger share."
            )

    def _everyones(self) -> tuple[int, dict[str, str]]:
        everyones = gathered((self.num_tried, self.reasons))
        reasons = {path: reason for _, reasons in everyones for path, reason in reasons.items()}
        return sum(number for number, _ in everyones), reasons


def _listed(reasons: dict[str, str]) -> str:
    return "\n".join(f"  {path}: {reason}" for path, reason in sorted(reasons.items()))


class UnreadableVideos(Callback):
    """Names every video that could not be read, once; counts them at the end of each epoch or evaluation.

    Args:
        max_share: Share of the videos beyond which the run stops and lists them. Five may always be unreadable. In
            training the share is checked every 50 batches and at the end of each epoch. Only a training is
            stopped: other evaluations write their results first.

    Raises:
        UserError: From the hooks, when there are more.
    """

    def __init__(self, max_share: float = 1.0) -> None:
        self.max_share = max_share
        self._named: set[str] = set()
        self._training = _Tally()
        self._evaluation = _Tally()  # apart, because a validation happens before the training epoch ends

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the count of an epoch that is not over, of every process."""
        checkpoint["videonl_unreadable"] = gathered((self._training.num_tried, self._training.reasons))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restores the count."""
        everyones = checkpoint.get("videonl_unreadable", [])
        if len(everyones) == trainer.world_size:
            self._training.num_tried, self._training.reasons = everyones[trainer.global_rank]
            self._named.update(self._training.reasons)

    def _note(self, batch: Any, num_tried: int, tally: _Tally) -> None:
        tally.num_tried += num_tried
        for failure in batch["failures"]:
            tally.reasons[failure.path] = failure.reason
            if failure.path not in self._named:
                self._named.add(failure.path)
                logger.warning("skipped %s: %s", failure.path, failure.reason)

    def _count(self, tally: _Tally, consequence: str) -> None:
        if tally.reasons:
            logger.warning("unreadable videos that %s: %d", consequence, len(tally.reasons))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Names the batch's failures."""
        self._note(batch, len(set(batch["video"])), self._training)
        if (batch_idx + 1) % _CHECK_EVERY_BATCHES == 0:
            self._training.check(self.max_share)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the epoch's failures; the count is logged too."""
        number = torch.tensor(float(len(self._training.reasons)), device=pl_module.device)
        pl_module.log("train/unreadable_videos", number, sync_dist=True, reduce_fx="sum")
        self._count(self._training, f"were replaced by others in epoch {trainer.current_epoch}")
        self._training.check(self.max_share)
        self._training = _Tally()

    def _note_evaluation(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note(batch, len(batch["video"].unique()) + len(batch["failures"]), self._evaluation)

    def _count_evaluation(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(self._evaluation, "have no score")
        if trainer.state.fn == TrainerFn.FITTING:
            if not trainer.sanity_checking or trainer.num_sanity_val_batches == trainer.num_val_batches:
                self._evaluation.require_one()
            self._evaluation.check(self.max_share)
        self._evaluation = _Tally()

    # Validation, test and prediction differ in nothing that matters here.
    on_validation_batch_start = on_test_batch_start = on_predict_batch_start = _note_evaluation
    on_validation_epoch_end = on_test_epoch_end = on_predict_epoch_end = _count_evaluation
