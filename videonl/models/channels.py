"""Number of output channels of modules, for any network of clips."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

from videonl.backbones import input_channels
from videonl.errors import UserError

PROBE = (16, 224, 224)  # a clip that the public 3D CNNs accept


class _AllSeenError(Exception):
    """Ends a forward pass once all shapes are known."""


class _QuickNorms(TorchFunctionMode):
    """Batch norms return a tensor like their input; on the meta device, torch's own import its compiler: seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return torch.empty_like(args[0]) if func is batch_norm else func(*args, **(kwargs or {}))


def output_channels(network: nn.Module, paths: Sequence[str]) -> dict[str, int]:
    """Finds the number of output channels of modules on the meta device, without computing anything.

    The network runs no further than the last of the modules, so that a head for clips of one size does not matter.

    Args:
        network: Takes clips (B, C, T, H, W).
        paths: Module paths within the network.

    Returns:
        Channels by path, in the order in which the modules end.

    Raises:
        UserError: When one of the modules does not run, or its output is no (B, C, T, H, W).
    """
    channels: dict[str, int] = {}

    def record(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            channels[path] = _num_channels(path, output)
            if len(channels) == len(set(paths)):
                raise _AllSeenError

        return hook

    hooks = [network.get_submodule(path).register_forward_hook(record(path)) for path in paths]
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in tensors.items()}
    try:
        with torch.no_grad(), _QuickNorms(), suppress(_AllSeenError):
            torch.func.functional_call(
                network, shapes, (torch.empty(1, input_channels(network), *PROBE, device="meta"),)
            )
    finally:
        for hook in hooks:
            hook.remove()
    if unseen := [path for path in paths if path not in channels]:
        raise UserError(f"no block can follow {', '.join(unseen)}: the network does not run it")
    return channels


def _num_channels(path: str, output: Any) -> int:
    if not isinstance(output, Tensor) or output.ndim != 5:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UserError(f"no block can follow {path}: its output is {found}, but blocks need (B, C, T, H, W)")
    return output.shape[1]
