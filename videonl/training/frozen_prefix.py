"""The frozen beginning of a network: which modules it is, what it computes, and how it is skipped."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

Value = tuple[int, int]  # a tensor and how often it has been written to, which sums and activations in place do
Compute = Callable[[Tensor], Tensor]
_GET_VERSION = Tensor._version.__get__  # type: ignore[attr-defined]  # to mypy it is no property


class Prefix(NamedTuple):
    """The frozen beginning of a network.

    Attributes:
        paths: Modules that run one after another from the network's input on. Nothing but the next one reads what one
            of them returns, except for the last one.
        next: The module that follows, or the innermost part of it that is in the way.
        reason: What it does, which ends the prefix.
    """

    paths: tuple[str, ...]
    next: str
    reason: str


@dataclass
class _Call:
    """A module that runs, with those that run within it."""

    path: str
    reason: str = ""  # why it cannot be skipped
    takes: Value | None = None
    gives: Value | None = None
    within: list["_Call"] = field(default_factory=list)


def frozen_prefix(network: nn.Module, x: Tensor) -> Prefix:
    """Finds the longest chain of modules from the input on that computes the same from the same input in every step.

    A module belongs to it when it has no parameter that trains and, as seen in a forward of a copy of the network,
    draws no random number, changes no buffer, runs once, and reads only what the one before it returns. A module in the
    way is opened, so that the chain goes on within it: as in a unit with a block behind it.

    Args:
        network: In the modes of the steps that are to skip the prefix. It is left as it is.
        x: An input of the network, of which two clips are used.
    """
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices):
        twin, example = copy.deepcopy(network), x[:2].clone()  # made here, or an evaluation's would have no versions
        with _Watch(twin) as watch:
            twin(example)
    chain, end = _chain(watch.root, watch.root.takes)
    for index, (call, after) in enumerate(pairwise(chain)):
        if any(after.path not in readers for readers in watch.readers.get(call.gives, [])):
            return Prefix(_paths(chain[: index + 1]), after.path, "is not all that reads what comes before")
    return Prefix(_paths(chain), end.path, end.reason or "reads something else")


def _paths(chain: list[_Call]) -> tuple[str, ...]:
    return tuple(call.path for call in chain)


def _chain(call: _Call, value: Value | None) -> tuple[list[_Call], _Call]:
    """The modules within a call that hand a value on, and the one that ends the chain."""
    chain: list[_Call] = []
    for part in call.within:
        if part.takes != value:
            return chain, part
        if part.reason or part.gives is None:
            deeper, end = _chain(part, value)
            return chain + deeper, end
        chain.append(part)
        value = part.gives
    return chain, call


class _Watch(TorchFunctionMode):
    """Records which modules of a network run in a forward, and which of them read what.

    Attributes:
        root: The network's own call.
        readers: For every value, by which modules' calls, from the outermost one in, each function that read it was
            made.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.root = _Call("")
        self.readers: dict[Value | None, list[list[str]]] = {}
        self._network = network
        self._running: list[tuple[_Call, Any]] = []
        self._alive: dict[int, Tensor] = {}  # so that no other tensor gets the identity of one
        self._runs: set[str] = set()
        self._hooked = [path for path, part in network.named_modules() if _has_hooks(part)]
        for path, part in network.named_modules():
            part.register_forward_pre_hook(self._enter_module(path))
            part.register_forward_hook(self._leave_module)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func != _GET_VERSION:  # that is this class itself
            path = [call.path for call, _ in self._running]
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor) and id(leaf) in self._alive:
                    self.readers.setdefault(_value(leaf), []).append(path)
        return func(*args, **(kwargs or {}))

    def _enter_module(self, path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            call = _Call(path) if self._running else self.root
            if self._running:
                self._running[-1][0].within.append(call)
            call.takes = self._value(inputs[0]) if len(inputs) == 1 else None
            call.reason = self._reason(path, module)
            self._runs.add(path)
            self._running.append((call, _changing(module)))

        return enter

    def _leave_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        call, (numbers, buffers) = self._running.pop()
        call.gives = self._value(output)
        numbers_now, buffers_now = _changing(module)
        if buffers_now != buffers:
            call.reason = call.reason or "changes its buffers, as batch norms do that take statistics"
        if any(not torch.equal(*pair) for pair in zip(numbers, numbers_now, strict=True)):
            call.reason = call.reason or "draws random numbers"

    def _reason(self, path: str, module: nn.Module) -> str:
        if any(parameter.requires_grad for parameter in module.parameters()):
            return "trains"
        if path in self._runs:
            return "runs more than once"
        return "has hooks" if path in self._hooked else ""

    def _value(self, x: Any) -> Value | None:
        if not isinstance(x, Tensor):
            return None
        self._alive[id(x)] = x
        return _value(x)


def _value(x: Tensor) -> Value:
    return id(x), x._version


def _has_hooks(module: nn.Module) -> bool:
    return any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def _changing(module: nn.Module) -> tuple[list[Tensor], list[int]]:
    """What a forward changes besides its output: the generators' states, and the versions of the buffers."""
    numbers = [torch.get_rng_state()]
    if torch.cuda.is_initialized():
        numbers.append(torch.cuda.get_rng_state())
    return numbers, [buffer._version for buffer in module.buffers()]


@contextmanager
def diverted(modules: Sequence[nn.Module], keep: Callable[[Tensor, Compute], Tensor]) -> Iterator[None]:
    """Has a prefix computed by a function, in which it may be skipped.

    The first module returns what all of them compute, and the others hand it on. So a network whose later parts are run
    again within a backward (gradient checkpointing) needs nothing more.

    Args:
        modules: Those of a prefix.
        keep: Is given the input and what computes the prefix, and returns its output.
    """
    forwards: list[Compute] = [module.forward for module in modules]
    own = [vars(module).get("forward") for module in modules]

    def compute(x: Tensor) -> Tensor:
        for forward in forwards:
            x = forward(x)
        return x

    for module in modules:
        vars(module)["forward"] = _hand_on
    vars(modules[0])["forward"] = lambda x: keep(x, compute)
    try:
        yield
    finally:
        for module, forward in zip(modules, own, strict=True):
            del vars(module)["forward"]
            if forward is not None:
                vars(module)["forward"] = forward


def _hand_on(x: Tensor) -> Tensor:
    return x


def fingerprint(modules: Sequence[nn.Module]) -> str:
    """A hash of what modules compute: classes, settings, weights and their layout, but not the modules' names."""
    digest = hashlib.blake2b(digest_size=20)
    for module in modules:
        for path, part in module.named_modules():
            settings = {name: value for name, value in vars(part).items() if _is_setting(name, value)}
            digest.update(repr((path, type(part).__qualname__, sorted(settings.items()))).encode())
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            digest.update(name.encode())
            update_with_tensor(digest, value)
    return digest.hexdigest()


def _is_setting(name: str, value: Any) -> bool:
    plain = isinstance(value, (bool, int, float, str, tuple, list, type(None)))
    return plain and not name.startswith("_") and name != "training"


def update_with_tensor(digest: hashlib.blake2b, x: Tensor) -> None:
    """Adds a tensor's shape, dtype, strides and bytes to a hash."""
    digest.update(repr((tuple(x.shape), x.stride(), x.dtype)).encode())
    outermost_first = sorted(range(x.ndim), key=x.stride, reverse=True)
    in_order = x.detach().cpu().permute(outermost_first).contiguous()  # of a dense tensor no copy, whatever its layout
    digest.update(in_order.flatten().view(torch.uint8).numpy().data)
