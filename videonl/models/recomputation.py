"""Gradient checkpointing: activations are computed again during backward instead of being kept (arXiv:1604.06174)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(module: nn.Module) -> None:
    """Has a module keep its inputs alone for backward, and compute the rest again there, if backward reaches it.

    Gradients, running statistics and random numbers are those of a forward that keeps everything. The module stays
    the same object with the same keys and hooks; hooks of the module itself see the first forward only, those of its
    parts both.

    Args:
        module: Takes tensors, all of them through its arguments; changed in place.
    """
    module.__class__ = _recomputing(type(module))


class _Recomputing(nn.Module):
    """A class to stand before another, whose forward it calls."""

    def forward(self, *inputs: Tensor) -> Tensor:
        if not _is_trained_through(self, inputs):
            kept: Tensor = super().forward(*inputs)
            return kept

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _statistics_untouched(self)

        recomputed: Tensor = checkpoint(super().forward, *inputs, use_reentrant=False, context_fn=contexts)
        return recomputed

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class is made on the spot and cannot be found by name: copies and pickles name the class beneath.
        return _blank, (type(self).__mro__[2],), self.__getstate__()  # type: ignore[no-untyped-call]  # torch's


def _is_trained_through(module: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    """Whether a step comes back to a module: frozen parts keep nothing if nothing that trains comes before them."""
    if not torch.is_grad_enabled():
        return False
    if any(parameter.requires_grad for parameter in module.parameters()):
        return module.training
    return any(x.requires_grad for x in inputs)  # frozen, so perhaps in eval mode within a training


def _recomputing(base: type[nn.Module]) -> type[nn.Module]:
    return type(base.__name__, (_Recomputing, base), {"__doc__": base.__doc__})


def _blank(base: type[nn.Module]) -> nn.Module:
    own = _recomputing(base)
    module: nn.Module = own.__new__(own)
    return module


@contextmanager
def _statistics_untouched(module: nn.Module) -> Iterator[None]:
    """Batch norms use the batch's statistics without counting the batch a second time."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # Running statistics without weight for this batch; passing none would save other tensors than the forward did.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, num_batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, num_batches
