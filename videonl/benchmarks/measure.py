"""One implementation at one size: its time, its memory, its operations; each measured in a process of its own."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from videonl.benchmarks.cases import Case, Implementation
from videonl.benchmarks.memory import free_bytes, peak_bytes, predicted_bytes
from videonl.blocks import AttentionBlock
from videonl.profiling import count_macs

MAX_REPEATS = 15
FREE_SHARE = 0.9  # of free memory that may be planned with; kernels need some beside the tensors
MIB = 2**20
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Setting:
    """Where an implementation is measured, and on what: features (1, channels, *grid).

    Attributes:
        grid: (T, H, W).
        channels: Channels of the features.
        device: ``cpu`` or ``cuda``.
        dtype: Name of a floating dtype of torch; that of weights and features alike.
        seconds: Time for the repeats of each of forward and step.
    """

    grid: tuple[int, int, int]
    channels: int = 512
    device: str = "cpu"
    dtype: str = "float32"
    seconds: float = 3.0


@dataclass(frozen=True)
class Measurement:
    """What an implementation takes: a forward alone, and a step of forward and backward with its peak memory."""

    forward_ms: float
    step_ms: float
    peak_mib: float


def measure(implementation: Implementation, setting: Setting) -> Measurement | None:
    """Measures in this process, which should have done nothing before; None when memory runs out.

    A step differentiates with respect to the features and every parameter. Its peak leaves out features and parameters,
    and what the first step leaves behind: libraries and the kernels that they compile for these sizes.
    """
    device = torch.device(setting.device)
    torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32 on both sides
    try:
        block, x = _prepare(implementation, setting)
        step = partial(_step, implementation, block, x)
        step_ms = _median_ms(step, device, setting.seconds)
        forward_ms = _median_ms(partial(_forward, implementation, block, x), device, setting.seconds)
        return Measurement(forward_ms, step_ms, peak_bytes(step, device) / MIB)
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # the CPU allocator has no exception of its own
            return None
        raise


def measure_apart(implementation: Implementation, setting: Setting) -> Measurement | None:
    """Measures in a process of its own; None when that would not fit into memory, or was killed because it did not."""
    if not fits(implementation, setting):
        return None
    try:
        return run_apart(measure, implementation, setting)
    except BrokenProcessPool:
        return None


def run_apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def fits(implementation: Implementation, setting: Setting) -> bool:
    """Whether a step's tensors fit into free memory, by their sizes alone. Ours are always tried."""
    free = free_bytes(torch.device(setting.device))
    if implementation.form == "ours" or free is None:
        return True
    block, x = _prepare(implementation, setting, "meta")
    return predicted_bytes(lambda: _step(implementation, block, x)) < FREE_SHARE * free


def flops(implementation: Implementation, setting: Setting) -> int:
    """Operations of a forward: 2 for each multiply-add; see :func:`videonl.profiling.count_macs`."""
    block, x = _prepare(implementation, setting, "meta")
    return 2 * count_macs(lambda: _forward(implementation, block, x))


def difference(case: Case, setting: Setting) -> float:
    """How far our change of the features is from the plain one, relative to the largest change."""
    torch.backends.cudnn.allow_tf32 = False
    block, x = _prepare(case.ours, setting)
    with torch.no_grad():
        ours, plain = case.ours(block, x), case.plain(block, x)
    return float((ours - plain).abs().max() / (plain - x).abs().max())


def _prepare(implementation: Implementation, setting: Setting, device: str = "") -> tuple[AttentionBlock, Tensor]:
    dtype = getattr(torch, setting.dtype)
    block = implementation.build(setting.channels).to(device or setting.device, dtype)
    # |x_i|^2 is around 4, so that in the Gaussian form too a position reads others than itself.
    x = torch.randn(1, setting.channels, *setting.grid, generator=torch.Generator().manual_seed(1))
    x = x * (4 / setting.channels) ** 0.5
    return block, x.to(device or setting.device, dtype)


def _forward(implementation: Implementation, block: AttentionBlock, x: Tensor) -> None:
    with torch.no_grad():
        implementation(block, x)


def _step(implementation: Implementation, block: AttentionBlock, x: Tensor) -> None:
    x = x.detach().requires_grad_()
    y = implementation(block, x)
    torch.autograd.grad(y, [x, *block.parameters()], torch.ones_like(y))


def _median_ms(work: Callable[[], None], device: torch.device, seconds: float) -> float:
    """Median over at most 15 calls within the seconds; one at least, and a warm-up before unless that took them all."""
    first = call_ms(work, device)
    if first >= 1000 * seconds:
        return first
    times: list[float] = []
    while not times or (len(times) < MAX_REPEATS and sum(times) + first < 1000 * seconds):
        times.append(call_ms(work, device))
    return statistics.median(times)


def call_ms(work: Callable[[], object], device: torch.device) -> float:
    """Time of one call, all of its work on the device included."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - start)
