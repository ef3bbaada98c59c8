"""Ends all processes of a run when one of them ends."""

import atexit
import os
import signal
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from videonl.errors import UserError
from videonl.runtime.gathering import gathered
from videonl.runtime.watch import Watch
from videonl.training.lightning_internals import end_without_collectives

_OTHERS_FIRST_SECONDS = 1.0


class EndTogether(Callback):
    """Ends all processes of a run, with the reason, when one of them fails or dies."""

    def __init__(self) -> None:
        self._watch: Watch | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connects the processes."""
        if trainer.world_size == 1 or self._watch is not None:
            return
        end_without_collectives(trainer)
        self._watch = Watch(trainer.global_rank, trainer.world_size, trainer.local_rank)
        port, word = gathered(self._watch.listen() if trainer.is_global_zero else (0, ""))[0]
        if trainer.is_global_zero:
            self._watch.accept()
        else:
            self._watch.connect(os.environ["MASTER_ADDR"], port, word)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tells the others."""
        if self._watch is None:
            return
        is_told = isinstance(exception, (KeyboardInterrupt, SIGTERMException))
        if not (isinstance(exception, UserError) or (is_told and trainer.is_global_zero)):
            # Where another process was killed, a collective operation fails here, and that is not the reason. The
            # watch hears of the death at the same time, says so and ends this process. Where all are told to end,
            # process 0 is first, which sees to its loggers and locks.
            time.sleep(_OTHERS_FIRST_SECONDS)
        self._watch.fail(_reason(exception), _exit_code(exception))

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *indices: int
    ) -> None:
        """Ends on request, as the trainer does within its other loops."""
        if trainer.received_sigterm:
            raise SIGTERMException

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lets the processes end one after the other."""
        if self._watch is not None:
            self._watch.finish()
            # Lightning sees to this for NCCL alone. Threads of gloo's that hold tensors when the interpreter ends have
            # the process abort, all done (pytorch/pytorch#190489).
            atexit.register(_leave_group)


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _exit_code(exception: BaseException) -> int:
    if isinstance(exception, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(exception, SIGTERMException):
        return 128 + signal.SIGTERM
    return 2 if isinstance(exception, UserError) else 1


def _reason(exception: BaseException) -> str:
    if isinstance(exception, KeyboardInterrupt):
        return "was interrupted"
    if isinstance(exception, SIGTERMException):
        return "was terminated"
    return f"failed: {exception}" if isinstance(exception, UserError) else f"failed: {exception!r}"
