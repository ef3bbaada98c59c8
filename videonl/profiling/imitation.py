"""Networks run with tensors that have shapes, strides and a device, and no numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Imitation:
    """A network with imitated weights.

    Attributes:
        network: The network; its own weights are not read, and may be on the meta device.
        tensors: Imitations of its parameters and buffers, as if on the CPU.
        memory_format: Of weights and clips.
    """

    network: nn.Module
    tensors: dict[str, Tensor]
    memory_format: torch.memory_format

    def run(self, size: tuple[int, ...]) -> Tensor:
        """Runs a clip (B, 3, T, H, W) of a size.

        Returns:
            Logits, (B, num_classes), without numbers.
        """
        clip = torch.empty(size, dtype=_floating(self.tensors)).contiguous(memory_format=self.memory_format)
        logits: Tensor = torch.func.functional_call(self.network, self.tensors, (clip,))
        return logits


@contextmanager
def imitate(
    network: nn.Module, *, training: bool = False, memory_format: torch.memory_format = torch.contiguous_format
) -> Iterator[Imitation]:
    """Within it, tensors have no numbers; kernels are those that the CPU would run.

    On the meta device attention would take another path, through the matrix of all queries by all keys. Afterwards
    every module is in training or evaluation as it was, frozen ones too.
    """
    modes = {module: module.training for module in network.modules()}
    network.train(training)
    with FakeTensorMode():
        tensors = {
            name: _like(value, memory_format) for name, value in [*network.named_parameters(), *network.named_buffers()]
        }
        try:
            yield Imitation(network, tensors, memory_format)
        finally:
            for module, mode in modes.items():
                module.training = mode


@contextmanager
def norms_as_shapes(network: nn.Module) -> Iterator[None]:
    """Within it, batch norms return a tensor like their input: without numbers torch composes each of many operations.

    Most of the time of a run by shapes alone would go there.
    """
    norms = [module for module in network.modules() if type(module) in NORMS and "forward" not in vars(module)]
    for norm in norms:
        norm.forward = torch.empty_like
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _like(value: Tensor, memory_format: torch.memory_format) -> Tensor:
    imitated = torch.empty(value.shape, dtype=value.dtype)
    if value.ndim == 5:
        imitated = imitated.contiguous(memory_format=memory_format)
    return imitated.requires_grad_(value.requires_grad)


def _floating(tensors: dict[str, Tensor]) -> torch.dtype:
    return next(value.dtype for value in tensors.values() if value.is_floating_point())
