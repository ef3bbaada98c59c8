"""All that is used of Lightning's private parts, in one place.

Lightning's public hooks do not tell how far within an epoch a training is, which row of the log comes next, or the sums
of which an epoch's means are made. pyproject.toml bounds Lightning from above to what this was tested with, and
``tests/training/test_lightning_internals.py`` names what has moved.
"""

from types import FrameType
from typing import Any

import torch
from lightning.fabric.loggers.logger import _DummyExperiment as DummyExperiment
from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loops.loop import _Loop
from torch import Tensor

__all__ = [
    "DummyExperiment",
    "add_sums",
    "begin_next_epoch",
    "coming_row",
    "end_without_collectives",
    "is_epoch_over",
    "is_step_followed",
    "newest_version",
    "reopen_epoch",
    "sums",
    "uncount_validated_step",
]


def is_epoch_over(trainer: Trainer) -> bool:
    """Whether every batch of the epoch has been trained on."""
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def is_step_followed(trainer: Trainer) -> bool:
    """Whether something of this step is still to come: more of its batches, a validation, the end of its epoch."""
    loop = trainer.fit_loop.epoch_loop
    return loop._should_accumulate() or loop._is_training_done or _validates_now(trainer)


def uncount_validated_step(trainer: Trainer) -> None:
    """On resuming from a validation within an epoch, which is not repeated: its step would be counted twice."""
    loop = trainer.fit_loop
    if loop.restarted_mid_epoch and loop.epoch_loop.restarted_on_last:
        loop.epoch_loop._batches_that_stepped -= int(_validates_now(trainer))


def begin_next_epoch(trainer: Trainer) -> None:
    """On resuming from the end of an epoch: with ``max_steps`` the trainer would end it again, and skip the next."""
    loop = trainer.fit_loop
    if loop.restarted_on_epoch_end:  # of whatever number of batches, which other videos may have changed
        loop.epoch_progress.increment_completed()
        _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]  # the loop's own setter forces True
        loop.reset_restart_stage()
        loop.epoch_loop.reset_restart_stage()


def reopen_epoch(checkpoint: dict[str, Any]) -> None:
    """Undoes what the trainer counted at the end of a training that ended within an epoch, if it did so yet."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    if progress["current"]["processed"] == progress["current"]["ready"]:
        for counts in (progress["current"], progress["total"]):
            counts["processed"] -= 1


def coming_row(trainer: Trainer) -> dict[str, Any] | None:
    """What the trainer will log for the step or the epoch that has just ended; all processes must call this.

    Returns:
        The arguments of ``Logger.log_metrics``; None where nothing will be logged.
    """
    connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
    within_epoch = connector._first_loop_iter is not None
    if not trainer.training or (within_epoch and not connector.should_update_logs):
        return None
    metrics = convert_tensors_to_scalars(connector.metrics["log"])
    if not metrics:
        return None
    # An epoch's row bears the number of its last step, as the trainer's does.
    step = loop._batches_that_stepped - (0 if within_epoch else 1)
    return {"metrics": {"epoch": trainer.current_epoch, **metrics}, "step": step}


def sums(trainer: Trainer) -> dict[str, list[Tensor]]:
    """Of each metric that is averaged over an epoch: its sum so far in this process, and of how many."""
    return {
        name: [metric.value.cpu(), *([metric.cumulated_batch_size.cpu()] if metric.meta.is_mean_reduction else [])]
        for name, metric in trainer.fit_loop.epoch_loop._results.items()
        if metric.is_tensor and metric.meta.on_epoch and not metric.has_reset
    }


def add_sums(trainer: Trainer, before: dict[str, list[Tensor]]) -> None:
    """Adds the sums from before an interruption to those that the trainer has made since."""
    results = trainer.fit_loop.epoch_loop._results
    for name in before.keys() & results.keys():
        metric = results[name]
        value, *size = [state.to(metric.value.device) for state in before[name]]
        is_extreme = metric.meta.is_max_reduction or metric.meta.is_min_reduction
        metric.value = (metric.meta.reduce_fx if is_extreme else torch.add)(value, metric.value)
        if metric.meta.is_mean_reduction:
            metric.cumulated_batch_size = size[0] + metric.cumulated_batch_size


def end_without_collectives(trainer: Trainer) -> None:
    """Takes the broadcast out of the trainer's handler of SIGTERM, and leaves it the rest; call it before the loops.

    The handler runs wherever a process happens to be. Where another one waits within a step, its collective would meet
    the broadcast: gloo aborts, or both wait for ever. The trainer broadcasts at the beginning of every step anyway.
    """
    connector = trainer._signal_connector

    def tell(number: int, frame: FrameType | None) -> None:
        is_told, connector.received_sigterm = connector.received_sigterm, True
        if not is_told and trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(number)  # of the processes that this one launched

    connector._sigterm_notifier_fn = tell  # type: ignore[method-assign,assignment]  # what it registers, in this trainer alone


def newest_version(logger: CSVLogger) -> int:
    """The number of the newest folder ``version_N`` that a logger's folder holds, or 0."""
    return max(0, logger._get_next_version() - 1)


def _validates_now(trainer: Trainer) -> bool:
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)
