"""Batch norms folded into the convolutions before them, for inference."""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from videonl.backbones.contract import input_channels
from videonl.profiling.imitation import norms_as_shapes

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
PROBE_SIZE = (16, 64, 64)  # of a clip, which any network takes


Pairs = list[tuple[str, str]]
# By network, for which looking takes longer than folding: an evaluation after every epoch folds the same again.
_known_pairs: WeakKeyDictionary[nn.Module, Pairs] = WeakKeyDictionary()


def folded(network: nn.Module) -> nn.Module:
    """A copy of a network for inference, in which every batch norm that can is part of the convolution before it.

    Which norm follows which convolution is seen in a forward of shapes alone, so any network will do: a norm is folded
    when it reads what one convolution returns, both run once, and nothing else reads that.

    Args:
        network: Takes clips (B, C, T, H, W). It is left as it is, and may be in training mode.

    Returns:
        The copy, in eval mode and without gradients; its outputs are those of the network in eval mode, to rounding.
    """
    twin = copy.deepcopy(network).eval().requires_grad_(False)
    if network not in _known_pairs:
        _known_pairs[network] = _pairs(twin)
    with torch.no_grad():
        for conv_path, norm_path in _known_pairs[network]:
            conv, norm = twin.get_submodule(conv_path), twin.get_submodule(norm_path)
            assert isinstance(conv, Conv) and isinstance(norm, _BatchNorm)
            _fold(conv, norm)
            twin.set_submodule(norm_path, nn.Identity())
    return twin


def _fold(conv: Conv, norm: _BatchNorm) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = nn.Parameter(bias, requires_grad=False)


def _pairs(network: nn.Module) -> Pairs:
    """The paths of convolutions and of the norms that alone read what they return, which depend on no weight."""
    returned: dict[int, str] = {}  # the convolution by the id of what it returned
    read: dict[str, str] = {}
    runs: Counter[str] = Counter()

    def after(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            runs[path] += 1
            if isinstance(module, Conv):
                returned[id(output)] = path
            elif id(inputs[0]) in returned:
                read[path] = returned[id(inputs[0])]

        return note

    probe = copy.deepcopy(network).to("meta")
    parts = {path: part for path, part in probe.named_modules() if isinstance(part, Conv) or _is_fixed_norm(part)}
    for path, part in parts.items():
        part.register_forward_hook(after(path))
    dtype = next(parameter.dtype for parameter in probe.parameters())
    with norms_as_shapes(probe), _Readers() as readers:
        probe(torch.empty(1, input_channels(probe), *PROBE_SIZE, dtype=dtype, device="meta"))
    alone = {path for number, path in returned.items() if readers.counts[number] == 1 and runs[path] == 1}
    return [(conv, norm) for norm, conv in read.items() if conv in alone and runs[norm] == 1]


def _is_fixed_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


class _Readers(TorchFunctionMode):
    """Counts by id how many functions read each tensor to make others."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[int] = Counter()
        self._kept: list[Any] = []  # so that no id is given twice

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(made)):
            self._kept.append((args, kwargs, made))
            self.counts.update({id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)})
        return made
