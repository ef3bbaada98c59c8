"""How much memory training takes, from what autograd keeps for the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videonl.profiling.imitation import imitate

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Memory:
    """Bytes that training holds at its worst moment, the end of the forward pass.

    What kernels need beside the tensors, and what an allocator keeps in reserve, is not in it.

    Attributes:
        per_clip: Activations kept for the backward pass, and the clip itself, for each clip of a batch.
        weights: Parameters and buffers, and what a forward keeps once for all clips, such as weights cast by autocast.
        gradients: One number for each parameter that learns.
        optimizer: Its state: one number for each for SGD with momentum, two for AdamW.
    """

    per_clip: int
    weights: int
    gradients: int
    optimizer: int

    def of_batch(self, num_clips: int) -> int:
        """Bytes of training on batches of this many clips."""
        return self.weights + self.gradients + self.optimizer + num_clips * self.per_clip


def training_memory(
    network: nn.Module,
    clip: Size,
    *,
    num_states: int = 1,
    autocast: torch.dtype | None = None,
    memory_format: torch.memory_format = torch.channels_last_3d,
) -> Memory:
    """Predicts the memory of a training without computing anything.

    Args:
        network: Maps clips (B, 3, T, H, W) to logits. It may be on the meta device.
        clip: (T, H, W).
        num_states: Numbers that the optimizer keeps for each parameter.
        autocast: The narrow dtype of mixed precision.
        memory_format: Of weights and clips.

    Returns:
        The prediction. What grows with the batch is told from what does not by batches of two and of three clips; one
        alone would have no variance to be normalized with where a grid is a single position.
    """
    kept = [_kept_bytes(network, (batch, 3, *clip), autocast, memory_format) for batch in (2, 3)]
    per_clip = kept[1] - kept[0]
    learnt = sum(_bytes(parameter) for parameter in network.parameters() if parameter.requires_grad)
    held = sum(_bytes(value) for value in [*network.parameters(), *network.buffers()])
    return Memory(per_clip, held + kept[0] - 2 * per_clip, learnt, num_states * learnt)


def _kept_bytes(
    network: nn.Module, size: tuple[int, ...], autocast: torch.dtype | None, memory_format: torch.memory_format
) -> int:
    """What autograd keeps of a forward besides the weights: every storage once, however many views of it are kept."""
    with imitate(network, training=True, memory_format=memory_format) as imitation:
        weights = {value.untyped_storage()._cdata for value in imitation.tensors.values()}
        with _kept_storages() as kept, torch.autocast("cpu", autocast, enabled=autocast is not None):
            logits = imitation.run(size)  # its graph keeps what is counted alive, so that no address is used twice
        total = sum(num_bytes for address, num_bytes in kept.items() if address not in weights)
        del logits
    return total


@contextmanager
def _kept_storages() -> Iterator[dict[int, int]]:
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        yield kept


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
