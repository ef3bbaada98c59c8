"""What the trainer's options may be, where Lightning itself takes numbers that mean nothing."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.callbacks import BatchSizeFinder, Callback, LearningRateFinder

from videonl.data.loader import MOST_SEED
from videonl.errors import MOST_WORKERS, UserError, require_within

LARGEST = 10**9
TIME = re.compile(r"\d\d:\d\d:\d\d:\d\d")
# Least and most of each; Lightning's own checks come after these, such as that a share is at most 1.
RANGES: Mapping[str, tuple[float, float]] = {
    "devices": (-1, MOST_WORKERS),
    "num_nodes": (1, MOST_WORKERS),
    "min_epochs": (0, math.inf),
    "max_epochs": (-1, math.inf),
    "min_steps": (0, math.inf),
    "max_steps": (-1, math.inf),
    "limit_train_batches": (0, LARGEST),
    "limit_val_batches": (0, LARGEST),
    "limit_test_batches": (0, LARGEST),
    "limit_predict_batches": (0, LARGEST),
    "val_check_interval": (0, LARGEST),
    "check_val_every_n_epoch": (1, LARGEST),
    "num_sanity_val_steps": (-1, LARGEST),
    "log_every_n_steps": (0, LARGEST),
    "accumulate_grad_batches": (1, LARGEST),
    "gradient_clip_val": (0, LARGEST),
    "reload_dataloaders_every_n_epochs": (0, LARGEST),
    "fast_dev_run": (0, LARGEST),
}
# Those of which 0 would leave nothing to do.
NOT_NOTHING = ("max_epochs", "max_steps", "val_check_interval")
# What Lightning's strategies call processes that take what this one holds: locks, loggers, results.
WITHIN = ("spawn", "fork", "notebook")


def require_trainer_values(trainer: Mapping[str, Any], seed: bool | int, subcommand: str) -> None:
    """Refuses numbers that mean nothing, before anything is built or written.

    Args:
        trainer: Options of the trainer by name, as they were parsed.
        seed: The value of ``seed_everything``.
        subcommand: ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        UserError: Naming the option.
    """
    require_within(0, MOST_SEED, seed_everything=seed)
    _require_own_processes(trainer["strategy"])
    for name, (least, most) in RANGES.items():
        for value in _numbers(trainer[name]):
            require_within(least, most, **{f"trainer.{name}": value})
    if isinstance(trainer["max_time"], str) and not TIME.fullmatch(trainer["max_time"]):
        raise UserError(f"trainer.max_time must be DD:HH:MM:SS, such as 00:12:00:00, got {trainer['max_time']!r}")
    used = {"fit": "limit_train_batches", "validate": "limit_val_batches"}.get(
        subcommand, f"limit_{subcommand}_batches"
    )
    for name in (*NOT_NOTHING, used):
        if trainer[name] == 0:
            raise UserError(f"trainer.{name} must not be 0, which leaves nothing to do; remove it")


def require_usable(callbacks: Sequence[Callback]) -> None:
    """Refuses Lightning's callbacks that would change values which are not where they look for them.

    Raises:
        UserError: Naming the callback and what to do instead.
    """
    for callback in callbacks:
        if isinstance(callback, LearningRateFinder):
            raise UserError(
                "trainer.callbacks: LearningRateFinder is not supported: rates follow a schedule by step and "
                "differ by layer; compare short trainings with several --model.optimization.lr"
            )
        if isinstance(callback, BatchSizeFinder):
            raise UserError(
                "trainer.callbacks: BatchSizeFinder is not supported; `videonl summary` predicts the memory of a "
                "batch, and --data.loading.batch_size sets its size"
            )


def require_validations(trainer: Mapping[str, Any], num_batches: int) -> None:
    """Refuses a validation after more batches than an epoch has.

    Raises:
        UserError: Naming both numbers.
    """
    interval = trainer["val_check_interval"]
    if isinstance(trainer["limit_train_batches"], int):
        num_batches = min(num_batches, trainer["limit_train_batches"])
    elif trainer["limit_train_batches"] is not None:
        num_batches = int(num_batches * trainer["limit_train_batches"])
    within_epochs = trainer["check_val_every_n_epoch"] is not None
    if within_epochs and isinstance(interval, int) and interval > num_batches:
        raise UserError(
            f"trainer.val_check_interval is {interval}, but an epoch has {num_batches} batches: use at most that "
            "many, or count batches over all epochs with --trainer.check_val_every_n_epoch null"
        )


def _require_own_processes(strategy: Any) -> None:
    """Refuses processes that are handed the trainer of this one: what they score and write does not come back."""
    name = str(strategy if not isinstance(strategy, dict) else (strategy.get("init_args") or {}).get("start_method"))
    if any(way in name for way in WITHIN):
        raise UserError(
            f"trainer.strategy: {name} starts its processes from within this one, which is for notebooks; use ddp, "
            "which starts the command once for each of --trainer.devices"
        )


def _numbers(value: Any) -> list[float]:
    """The numbers in an option's value: in itself, in a list, or in text that is one."""
    values = value if isinstance(value, list) else [value]
    return [number for one in values if (number := _number(one)) is not None]


def _number(value: Any) -> float | None:
    try:
        return None if value is None else value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        return None
