"""Batch norm statistics that match the weights that are evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from itertools import islice

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import ResumableLoader
from videonl.errors import UserError
from videonl.training.moments import Moments, merged


class PreciseBatchNorm(Callback):
    """Recomputes the running statistics of batch norms over batches of training clips, with fixed weights.

    It runs before each validation, and at the end of a training whose last step was not validated. What is validated
    and saved then has the mean and variance of its own weights, not moving averages of earlier ones. The moments cover
    all positions of all batches and processes together, so they are the same in every process. Nothing else changes in
    the training: the clips are those at the start of its epoch, augmented in the same way but not mixed, and gradients,
    order, random numbers and progress do not change.

    Source: the "precise BN" of arXiv:1711.07971's training recipe; with the variance between batches, as in Wu and
    Johnson 2021, arXiv:2105.07576, section 3. Frozen norms do not change.

    Args:
        num_batches: Batches of each process; fewer if the epoch has fewer.
    """

    def __init__(self, num_batches: int = 200) -> None:
        if num_batches < 1:
            raise UserError(f"num_batches of PreciseBatchNorm must be at least 1, got {num_batches}")
        self.num_batches = num_batches
        self._last_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that averaged weights are in place before their statistics are computed.

        Raises:
            UserError: They would not be in place.
        """
        callbacks = _callbacks(trainer)
        if _averages(callbacks[callbacks.index(self) :]):
            raise UserError("trainer.callbacks: list the callback that averages weights before PreciseBatchNorm")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Recomputes before a validation."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._recompute(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Recomputes if the training ends without a validation, before its last checkpoint."""
        # Averaged weights are out of reach here; their statistics are those of the last validation.
        if _is_ending(trainer) and self._last_step != trainer.global_step and not _averages(_callbacks(trainer)):
            self._recompute(trainer, pl_module)

    def _recompute(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_step = trainer.global_step
        with torch.no_grad(), _norms_in_training(pl_module) as norms:
            if norms:
                moments = self._measure(trainer, pl_module, norms)
                for norm, total in _everyones(trainer, moments).items():
                    _set_statistics(norm, total)

    def _measure(
        self, trainer: Trainer, pl_module: LightningModule, norms: list[_BatchNorm]
    ) -> dict[_BatchNorm, Moments]:
        moments = {norm: Moments() for norm in norms}
        hooks = [norm.register_forward_pre_hook(own) for norm, own in moments.items()]
        # Compiled code would not run the hooks. Making an iterator of a loader draws a random number.
        eager, numbers = torch.compiler.set_stance("force_eager"), torch.random.fork_rng(devices=[])
        try:
            with eager, numbers, trainer.precision_plugin.forward_context():
                for batch in islice(_loader(trainer), self.num_batches):
                    pl_module(batch["clip"].to(pl_module.device))
        finally:
            for hook in hooks:
                hook.remove()
        return moments


@contextmanager
def _norms_in_training(module: nn.Module) -> Iterator[list[_BatchNorm]]:
    """Everything in eval mode but the norms whose statistics are trained; afterwards all is as it was."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    norms = [part for part in modes if isinstance(part, _BatchNorm) and _takes_statistics(part)]
    counts = {norm: norm.num_batches_tracked.clone() for norm in norms if norm.num_batches_tracked is not None}
    try:
        yield norms
    finally:
        for norm, count in counts.items():
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.copy_(count)
        for part, mode in modes.items():
            part.training = mode


def _takes_statistics(norm: _BatchNorm) -> bool:
    """Puts a norm into training mode, unless it is frozen, or of a kind that refuses."""
    norm.train(norm.weight is None or norm.weight.requires_grad)
    return norm.training and norm.running_mean is not None


def _loader(trainer: Trainer) -> ResumableLoader:
    data: ClipDataModule = trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
    loader = data.training_loader()
    loader.set_epoch(trainer.current_epoch)
    return loader


def _everyones(trainer: Trainer, own: dict[_BatchNorm, Moments]) -> dict[_BatchNorm, Tensor]:
    """The moments of all processes together, by the norms that any clip has reached."""
    totals = {norm: moments.total for norm, moments in own.items() if moments.total is not None}
    if not totals:
        return {}
    # One tensor to exchange: (3, C of all norms) -> (R, 3, C of all norms); without processes there is no R.
    gathered = trainer.strategy.all_gather(torch.cat(list(totals.values()), dim=1))
    together = reduce(merged, gathered.reshape(-1, *gathered.shape[-2:]))
    return dict(zip(totals, together.split([total.shape[1] for total in totals.values()], dim=1), strict=True))


def _set_statistics(norm: _BatchNorm, total: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    count, mean, squares = total
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(squares / (count - 1))


def _is_ending(trainer: Trainer) -> bool:
    epochs_end = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch + 1
    return trainer.should_stop or epochs_end or 0 <= trainer.max_steps <= trainer.global_step


def _callbacks(trainer: Trainer) -> list[Callback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the trainer's constructor
    return callbacks


def _averages(callbacks: list[Callback]) -> bool:
    return any(isinstance(callback, WeightAveraging) for callback in callbacks)
