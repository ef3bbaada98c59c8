"""Options for how a network runs, not what it computes."""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from videonl.backbones.rewrites import run_frames_in_2d, run_out_of_place
from videonl.errors import UserError
from videonl.models.recomputation import recompute

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
INT_MAX = 2**31 - 1


@dataclass(frozen=True)
class Execution:
    """Options that change time and memory, and results by rounding at most.

    Attributes:
        frames_in_2d: Run 1 x k x k convolutions and max pools over frames in 2D, where channels are innermost.
        in_place: Activations and residual sums overwrite their input, for less memory and time.
        checkpoint: Stages, such as res2, that only keep the inputs of their residuals for backward and recompute the
            rest, blocks included: less memory for about one more forward pass of these stages.
        compile: Compile the network with ``torch.compile`` at its first batch, and again for batches of another size.
    """

    frames_in_2d: bool = True
    in_place: bool = True
    checkpoint: list[str] = field(default_factory=list)
    compile: bool = False


def set_execution(network: nn.Module, stages: Mapping[str, Sequence[str]], execution: Execution) -> None:
    """Sets how a network runs, in place; its ``state_dict`` does not change.

    Args:
        network: A backbone with its blocks.
        stages: Module paths of its residuals by stage.
        execution: The options.

    Raises:
        UserError: For an unknown stage, or options that exclude each other.
    """
    if execution.checkpoint and execution.compile:
        raise UserError("execution: checkpoint and compile exclude each other; choose one")
    for stage in execution.checkpoint:
        if stage not in stages:
            raise UserError(f"unknown stage {stage!r} in checkpoint; this backbone has: {', '.join(stages)}")
    if execution.frames_in_2d:
        run_frames_in_2d(network)
    if not execution.in_place:
        run_out_of_place(network)
    for stage in dict.fromkeys(execution.checkpoint):
        for path in stages[stage]:
            recompute(network.get_submodule(path))
    if execution.compile:
        network.compile()


def keep_freed_memory_on(device: torch.device) -> None:
    """As :func:`keep_freed_memory`, where networks run on the CPU: GPUs have memory of their own."""
    if device.type == "cpu":
        keep_freed_memory()


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for its next tensors, with glibc.

    Otherwise every large tensor on the CPU is new memory from the system, which clears it page by page on first use.
    The process then holds on to the most that it has used.

    Returns:
        Whether the C library took it.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, INT_MAX))
