"""Tensors that compute as those of the CPU do, and refuse to be mixed with them, as those of a GPU do."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # the one that autograd takes without a driver; here it has values
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
# What CUDA takes from the CPU: places to read and write.
_INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default)


class Elsewhere(Tensor):
    """A tensor on another device; its values are on the CPU."""

    @staticmethod
    def __new__(cls, values: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
            requires_grad=values.requires_grad,
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """Lets factories make tensors of the other device too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Making(TorchFunctionMode):
    """Functions that make tensors of numbers take no values to the device meta; these do."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is Tensor.new_tensor:
            made = torch.tensor(args[1], dtype=given.get("dtype", args[0].dtype))
            return made.to(args[0].device)
        if func is torch.tensor and given.get("device") is not None:
            device = given.pop("device")
            return torch.tensor(*args, **given).to(device)
        if func is torch.unravel_index and isinstance(args[0], Elsewhere):
            return tuple(part.to(args[0].device) for part in func(args[0].cpu(), *args[1:], **given))
        return func(*args, **given)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
    left = [leaf for leaf in leaves if not isinstance(leaf, Elsewhere) and leaf.ndim > 0]
    asked = kwargs.get("device")
    if there and left and func not in (*_COPIES, *_INDEXING):
        raise RuntimeError(f"{func} mixes tensors of two devices: {[tuple(leaf.shape) for leaf in left]} stayed behind")
    given = {**kwargs, "device": torch.device("cpu")} if asked is not None else kwargs
    made = func(*tree_map(_values, args), **tree_map(_values, given))
    if func is torch.ops.aten.copy_.default:
        return args[0]
    goes = torch.device(asked).type == DEVICE.type if asked is not None else bool(there)
    if leaves and func.__name__.split(".")[0].endswith("_") and not func.__name__.startswith("_"):
        return args[0]
    return tree_map(lambda value: Elsewhere(value) if isinstance(value, Tensor) and goes else value, made)


def _values(value: Any) -> Any:
    return value.values if isinstance(value, Elsewhere) else value


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A device with values of its own, on any machine; autocast and inference mode, which it has not, do nothing."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else nullcontext())
    with _Making(), Pretending():
        yield DEVICE


@pytest.fixture
def fake_cuda() -> Iterator[None]:
    """A GPU that is not there, where everything is made: operations have shapes and devices, and no values."""
    with FakeTensorMode(), torch.device("cuda"):
        yield
