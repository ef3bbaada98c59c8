"""The device that a user names, and how much memory it took."""

import resource
import sys

import torch

from videonl.errors import UserError


def device_of(name: str) -> torch.device:
    """The device of that name; ``auto`` takes the GPU where there is one.

    Raises:
        UserError: There is no such device here.
    """
    try:
        device = torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # unknown, not there, or without numbers
        raise UserError(
            f"device {name!r} is not available ({str(error).splitlines()[0]}); use cpu, or cuda if there is a GPU"
        ) from error
    return device


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that this process has held: on a GPU what PyTorch allocated, else what was resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kibibytes
