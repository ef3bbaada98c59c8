"""Lets someone look at the features that reach the blocks of a network, while it runs once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from videonl.blocks.contract import AttentionBlock
from videonl.errors import UserError
from videonl.visualization.grid import Position

Reader = Callable[[str, tuple[Tensor, ...], Tensor], None]


def read_features(network: nn.Module, blocks: Mapping[str, AttentionBlock], clip: Tensor, read: Reader) -> Tensor:
    """Runs the network once on a clip and shows what goes into each block and what comes out.

    The network runs in evaluation mode without gradients; its training flags and hooks are as before when this returns
    or raises.

    Args:
        network: takes ``clip`` and runs every one of ``blocks``.
        blocks: the network's attention blocks by name.
        clip: (1, C, T, H, W), normalised, on the network's device.
        read: called at each block with its name, its input (for some blocks the features of an earlier stage too) and
            its output, at once: a later in-place layer may overwrite them.

    Returns:
        What the network returns for the clip.

    Raises:
        UserError: there are no blocks.
        ValueError: ``clip`` is not one clip, or the network did not run one of the blocks.
    """
    clip_size(clip)
    if not blocks:
        raise UserError(
            "the network has no attention blocks inserted, so there is no attention to show; choose a model whose "
            "configuration places blocks, or ask which places speak for a class: --evidence"
        )
    met = set()

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def call(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            met.add(name)
            read(name, args, output)

        return call

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(evaluating(network))
        for name, block in blocks.items():
            stack.enter_context(block.register_forward_hook(hook(name)))
        returned: Tensor = network(clip)
    if missing := [name for name in blocks if name not in met]:
        raise ValueError(f"the network did not run the blocks {missing}; hand in the blocks inserted into this network")
    return returned


def clip_size(clip: Tensor) -> Position:
    """(T, H, W) of one clip (1, C, T, H, W); anything else is a ValueError."""
    if clip.ndim != 5 or clip.shape[0] != 1:
        raise ValueError(f"clip must be one clip (1, C, T, H, W), got shape {tuple(clip.shape)}")
    return clip.shape[2], clip.shape[3], clip.shape[4]


def most_changed(x: Tensor, output: Tensor) -> Position:
    """The cell whose features a block changed most, by the L2 norm over channels; the centre where none changed."""
    change = (output - x)[0].float().norm(dim=0)  # (C, T, H, W) -> (T, H, W)
    if not change.any():
        return change.shape[0] // 2, change.shape[1] // 2, change.shape[2] // 2
    t, y, x_cell = torch.unravel_index(change.argmax(), change.shape)
    return int(t), int(y), int(x_cell)


def require_finite(name: str, weights: Tensor) -> None:
    """Refuses weights that are not numbers, with the reasons that there may be.

    Raises:
        UserError: Naming the block.
    """
    if not weights.isfinite().all():
        raise UserError(
            f"block {name!r} computed attention weights that are not finite; its parameters or the clip hold NaN, "
            "infinite or too large numbers: try another checkpoint, or run in float32"
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts a network into evaluation mode, and its training flags back as they were."""
    # Flag by flag, because a network in training may hold frozen parts that train(True) would wake.
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training
