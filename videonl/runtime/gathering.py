"""What the processes of a run tell each other beside tensors."""

from typing import TypeVar

import torch
import torch.distributed

T = TypeVar("T")


def gathered(own: T) -> list[T]:
    """What every process has, by rank; all processes must call this."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    everyones = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyones, own)
    return everyones
