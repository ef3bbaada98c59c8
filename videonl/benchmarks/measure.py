"""Both implementations of a case at one size: time, memory, operations."""

import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from videonl.benchmarks.apart import kept_apart
from videonl.benchmarks.cases import Case, Implementation
from videonl.benchmarks.memory import free_bytes, peak_bytes, predicted_bytes
from videonl.benchmarks.rounds import Rounds, alternate
from videonl.blocks import AttentionBlock
from videonl.profiling import count_macs

FREE_SHARE = 0.9  # of free memory that may be planned with; kernels need some beside the tensors
MIB = 2**20


@dataclass(frozen=True)
class Setting:
    """Where an implementation is measured, and on what: features (1, channels, *grid).

    Attributes:
        grid: (T, H, W).
        channels: Channels of the features.
        device: ``cpu`` or ``cuda``.
        dtype: Name of a floating dtype of torch; that of weights and features alike.
        seconds: Time for the rounds of both sides, once for forwards and once for steps.
    """

    grid: tuple[int, int, int]
    channels: int = 512
    device: str = "cpu"
    dtype: str = "float32"
    seconds: float = 3.0


@dataclass(frozen=True)
class Measurement:
    """What an implementation takes: a forward alone, a step of forward and backward (medians), and its peak memory."""

    forward_ms: float
    step_ms: float
    peak_mib: float


class BlockSubject:
    """One implementation in its own process, ready to be timed; None for an answer means that memory ran out.

    A step differentiates with respect to the features and every parameter.

    Args:
        implementation: Which.
        setting: On what.
    """

    def __init__(self, implementation: Implementation, setting: Setting) -> None:
        torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32 on both sides
        self.device = torch.device(setting.device)
        block, x = _prepare(implementation, setting)
        self._step = partial(_step, implementation, block, x)
        self._forward = partial(_forward, implementation, block, x)

    def step_ms(self) -> float | None:
        """Time of one step of forward and backward."""
        return _unless_full(lambda: call_ms(self._step, self.device))

    def forward_ms(self) -> float | None:
        """Time of one forward alone."""
        return _unless_full(lambda: call_ms(self._forward, self.device))

    def peak_mib(self) -> float | None:
        """Memory of a step, beyond features, parameters and what earlier steps left behind: libraries, kernels."""
        return _unless_full(lambda: peak_bytes(self._step, self.device) / MIB)


def _unless_full(work: Callable[[], float]) -> float | None:
    try:
        return work()
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # the CPU allocator has no exception of its own
            return None
        raise


def measure_case(case: Case, setting: Setting) -> tuple[dict[str, Measurement], dict[str, Rounds]]:
    """Measures both sides in turn, each in a warm process of its own.

    Two processes, because memory that one side freed would serve the other: neither the peak nor the time of a first
    touch would be its own.

    Returns:
        Each side that fits into memory; and the rounds of ``forward`` and ``step``.
    """
    with ExitStack() as stack:
        calls = {
            side: partial(_call, stack.enter_context(kept_apart(BlockSubject, implementation, setting)))
            for side, implementation in (("ours", case.ours), ("plain", case.plain))
            if fits(implementation, setting)
        }
        rounds = {
            name: alternate({side: partial(call, f"{name}_ms") for side, call in calls.items()}, setting.seconds)
            for name in ("step", "forward")
        }
        found = {}
        for side, call in calls.items():
            forward_ms, step_ms = (rounds[name].median.get(side) for name in ("forward", "step"))
            if forward_ms is not None and step_ms is not None and (peak_mib := call("peak_mib")) is not None:
                found[side] = Measurement(forward_ms, step_ms, peak_mib)
    return found, rounds


def _call(ask: Callable[[str], float | None], name: str) -> float | None:
    try:
        return ask(name)
    except BrokenProcessPool:  # killed, because memory ran out
        return None


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


def call_ms(work: Callable[[], object], device: torch.device) -> float:
    """Time of one call, all of its work on the device included."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - start)
