"""Observes the features at the blocks of a network during one forward pass."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from videonl.blocks.contract import AttentionBlock
from videonl.errors import UserError
from videonl.visualization.grid import Position

Reader = Callable[[str, tuple[Tensor, ...], Tensor], None]


def read_features(network: nn.Module, blocks: Mapping[str, AttentionBlock], clip: Tensor, read: Reader) -> Tensor:
    """Runs the network once on a clip and passes each block's input and output to a function.

    The network runs in evaluation mode without gradients; its training flags and hooks are as before when this returns
    or raises.

    Args:
        network: takes ``clip`` and runs every one of ``blocks``.
        blocks: the network's attention blocks by name.
        clip: (1, C, T, H, W), normalized, on the network's device.
        read: called at each block with its name, its input (for some blocks the features of an earlier stage too) and
            its output, at once: a later in-place layer may overwrite them.

    Returns:
        The output of the network for the clip.

    Raises:
        UserError: there are no blocks.
        ValueError: ``clip`` is not one clip, or the network did not run one of the blocks.
    """
    clip_size(clip)
    require_blocks(blocks)
    met = set()

    def note(name: str, args: tuple[Tensor, ...], output: Tensor) -> None:
        met.add(name)
        read(name, args, output)

    with torch.inference_mode(), evaluating(network), _hooked(blocks, note):
        returned: Tensor = network(clip)
    if missing := [name for name in blocks if name not in met]:
        raise ValueError(f"the network did not run the blocks {missing}; pass the blocks inserted into this network")
    return returned


@dataclass(frozen=True)
class Observation:
    """The results of one forward pass of one clip, from which maps, evidence and the explorer are made.

    Attributes:
        size: (T, H, W) of the clip.
        logits: (1, K); with a layer, they have gradients for its output.
        features: each block's inputs: x (1, C, T, H, W), and for some blocks the features of an earlier stage.
        most_changed: for each block the cell whose features it changed most.
        outputs: outputs of the layer, one for each time that it ran, (B, C, T, H, W) with a gradient.
    """

    size: Position
    logits: Tensor
    features: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    most_changed: dict[str, Position] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)


def observe(
    network: nn.Module, blocks: Mapping[str, AttentionBlock], clip: Tensor, layer: nn.Module | None = None
) -> Observation:
    """Runs the network once on a clip and keeps the inputs of the blocks and, with gradients, the output of a layer.

    The network runs in evaluation mode, without gradients up to the layer; its training flags and hooks are as before
    when this returns or raises.

    Args:
        network: takes ``clip``, runs every one of ``blocks``, and returns logits (1, K).
        blocks: some attention blocks of the network by name.
        clip: (1, C, T, H, W), normalized, on the network's device.
        layer: a module of the network, for class evidence.

    Raises:
        ValueError: ``clip`` is not one clip, or the network did not run one of the blocks.
    """
    seen = Observation(clip_size(clip), torch.empty(0))

    def keep(name: str, args: tuple[Tensor, ...], output: Tensor) -> None:
        # Copies, because a later in-place layer may overwrite them.
        seen.features[name] = tuple(part.detach().clone() for part in args)
        seen.most_changed[name] = most_changed(args[0].detach(), output.detach())

    def part_from_here(module: nn.Module, args: Any, output: Any) -> Any:
        if not (isinstance(output, Tensor) and output.is_floating_point()):
            seen.outputs.append(output)
            return output
        leaf = output.detach().clone().requires_grad_()
        seen.outputs.append(leaf)
        torch.set_grad_enabled(True)  # for what follows, until the context ends
        return leaf.clone()  # a later in-place layer may not write into a leaf

    # Inference mode would leave tensors that no gradient can be taken of.
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(network))
        stack.enter_context(_hooked(blocks, keep))
        if layer is not None:  # first of its hooks: a later block may read what another hook hands over
            stack.enter_context(layer.register_forward_hook(part_from_here, prepend=True))
        logits: Tensor = network(clip.clone() if clip.is_inference() else clip)
    if missing := [name for name in blocks if name not in seen.features]:
        raise ValueError(f"the network did not run the blocks {missing}; pass the blocks inserted into this network")
    return replace(seen, logits=logits)


@contextmanager
def _hooked(blocks: Mapping[str, AttentionBlock], read: Reader) -> Iterator[None]:
    """Has ``read`` called at each block."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, args, output: read(name, args, output)

    handles = [block.register_forward_hook(hook(name)) for name, block in blocks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def require_blocks(blocks: Mapping[str, AttentionBlock]) -> None:
    """Rejects a network without blocks.

    Raises:
        UserError: There are none.
    """
    if not blocks:
        raise UserError(
            "the network has no attention blocks inserted, so there is no attention to show; choose a model whose "
            "configuration inserts blocks, or use --evidence to show which positions support a class"
        )


def clip_size(clip: Tensor) -> Position:
    """(T, H, W) of one clip (1, C, T, H, W); anything else is a ValueError."""
    if clip.ndim != 5 or clip.shape[0] != 1:
        raise ValueError(f"clip must be one clip (1, C, T, H, W), got shape {tuple(clip.shape)}")
    return clip.shape[2], clip.shape[3], clip.shape[4]


def most_changed(x: Tensor, output: Tensor) -> Position:
    """The cell whose features a block changed most, by the L2 norm over channels; the center if none changed."""
    change = (output - x)[0].float().norm(dim=0)  # (C, T, H, W) -> (T, H, W)
    if not change.any():
        return change.shape[0] // 2, change.shape[1] // 2, change.shape[2] // 2
    t, y, x_cell = torch.unravel_index(change.argmax(), change.shape)
    return int(t), int(y), int(x_cell)


def require_finite(name: str, weights: Tensor) -> None:
    """Rejects weights that are not finite, with possible reasons.

    Raises:
        UserError: Naming the block.
    """
    if not weights.isfinite().all():
        raise UserError(
            f"block {name!r} computed attention weights that are not finite; its parameters or the clip hold NaN, "
            "infinite or too large values: try another checkpoint, or run in float32"
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Sets a network to evaluation mode, and restores its training flags."""
    # Flag by flag, because a network in training may hold frozen parts that train(True) would wake.
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training
