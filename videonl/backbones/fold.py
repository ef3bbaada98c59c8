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

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
PROBE_SIZE = (16, 64, 64)  # of a clip, which any network takes
_MAKER = "made_by_convolution"  # an attribute of tensors during a probe

Pairs = list[tuple[str, str]]
# By network, for which looking takes longer than folding: an evaluation after every epoch folds the same again.
_known_pairs: WeakKeyDictionary[nn.Module, Pairs] = WeakKeyDictionary()


def folded(network: nn.Module) -> nn.Module:
    """A copy of a network for inference, in which every batch norm that can is part of the convolution before it.

    Which norm follows which convolution is seen in a forward of one small clip, so any network will do: a norm is
    folded when it reads what one convolution returns, both run once, and nothing else reads that.

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
    """The paths of convolutions and of the norms that alone read what they return, as seen in one forward.

    It computes: on the meta device, which need not, torch imports its compiler for some operations, for seconds.
    """
    read: dict[str, str] = {}
    runs: Counter[str] = Counter()

    def after(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            runs[path] += 1
            if isinstance(module, Conv):
                setattr(output, _MAKER, path)
            elif maker := getattr(inputs[0], _MAKER, None):
                read[path] = maker

        return note

    parts = {path: part for path, part in network.named_modules() if isinstance(part, Conv) or _is_fixed_norm(part)}
    hooks = [part.register_forward_hook(after(path)) for path, part in parts.items()]
    like = next(network.parameters())
    try:
        with torch.no_grad(), _Readers() as readers:
            network(like.new_zeros(1, input_channels(network), *PROBE_SIZE))
    finally:
        for hook in hooks:
            hook.remove()
    alone = {path for path, count in readers.counts.items() if count == 1 and runs[path] == 1}
    return [(conv, norm) for norm, conv in read.items() if conv in alone and runs[norm] == 1]


def _is_fixed_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


class _Readers(TorchFunctionMode):
    """Counts, by the convolution that made a tensor, how many functions read it to make others."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(made)):
            leaves = {id(leaf): leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
            self.counts.update(maker for leaf in leaves.values() if (maker := vars(leaf).get(_MAKER)))
        return made
