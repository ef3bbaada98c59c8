"""Which block stands after which residual of a backbone, and how it gets there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from videonl.backbones import Backbone
from videonl.blocks import BLOCKS, AttentionBlock
from videonl.errors import UserError


@dataclass(frozen=True)
class Insertion:
    """One kind of block and the residuals it follows.

    Attributes:
        block: Short name of the block, for example ``nonlocal``.
        after: For each stage the 0-based indices of the residuals that the block follows: ``{res3: [1, 3]}``.
        options: Keyword arguments of the block.
    """

    block: str
    after: dict[str, list[int]]
    options: dict[str, Any] = field(default_factory=dict)


class InsertedAfter(nn.Module):
    """A residual unit followed by a block, invisible in the ``state_dict``.

    The residual's keys stay as they were without the wrapper, so checkpoints of the plain backbone load unchanged; the
    block's keys follow under ``block.``.
    """

    def __init__(self, residual: nn.Module, block: AttentionBlock) -> None:
        super().__init__()
        if hasattr(residual, "block"):
            raise ValueError(f"{type(residual).__name__} has a member named 'block', the name of the inserted one")
        self.residual = residual
        self.block = block
        self.register_state_dict_post_hook(_hide_wrapper)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.register_load_state_dict_pre_hook(_restore_wrapper)  # type: ignore[no-untyped-call]  # likewise

    def forward(self, x: Tensor) -> Tensor:
        """Runs the residual, then the block."""
        z: Tensor = self.block(self.residual(x))
        return z


def _hide_wrapper(module: nn.Module, state: dict[str, Any], prefix: str, metadata: object) -> None:
    hidden = f"{prefix}residual."
    for key in [key for key in state if key.startswith(prefix)]:
        # Every key of the prefix is put back, so that their order stays that of the modules.
        value = state.pop(key)
        state[prefix + key.removeprefix(hidden) if key.startswith(hidden) else key] = value


def _restore_wrapper(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for key in [key for key in state if key.startswith(prefix) and not key.startswith(f"{prefix}block.")]:
        state[f"{prefix}residual.{key.removeprefix(prefix)}"] = state.pop(key)


def insert(backbone: Backbone, insertions: Sequence[Insertion]) -> dict[str, AttentionBlock]:
    """Inserts blocks into a backbone's network, in place.

    Args:
        backbone: The network to change and its stages.
        insertions: What to insert where.

    Returns:
        The inserted blocks by name, such as ``res4.3`` for the block after residual 3 of res4, in network order.

    Raises:
        UserError: For an unknown block, stage or residual, a residual named twice, or options the block refuses; the
            message lists what exists.
    """
    wanted: dict[tuple[str, int], Insertion] = {}
    for insertion in insertions:
        _check_block(insertion.block)
        for stage, indices in insertion.after.items():
            for index in indices:
                _check_residual(backbone.stages, stage, index)
                if (stage, index) in wanted:
                    raise UserError(f"two blocks are placed after residual {index} of {stage}; name it once")
                wanted[stage, index] = insertion
    if not wanted:
        return {}
    paths = {(stage, index): backbone.stages[stage][index] for stage, index in wanted}
    channels = output_channels(backbone.network, list(paths.values()))
    # Sorted by stage and residual, so that blocks are reported in the order in which a clip meets them.
    order = sorted(wanted, key=lambda place: (list(backbone.stages).index(place[0]), place[1]))
    return {
        f"{stage}.{index}": _wrap(
            backbone.network, paths[stage, index], wanted[stage, index], channels[paths[stage, index]]
        )
        for stage, index in order
    }


def _check_block(name: str) -> None:
    if name not in BLOCKS:
        raise UserError(f"unknown block {name!r}; the blocks are: {', '.join(sorted(BLOCKS))}")


def _check_residual(stages: Mapping[str, tuple[str, ...]], stage: str, index: int) -> None:
    if stage not in stages:
        raise UserError(f"unknown stage {stage!r} for a block; this backbone has: {', '.join(stages)}")
    if not 0 <= index < len(stages[stage]):
        raise UserError(
            f"residual {index} of {stage} does not exist; {stage} has residuals 0 to {len(stages[stage]) - 1}"
        )


def _wrap(network: nn.Module, path: str, insertion: Insertion, channels: int) -> AttentionBlock:
    try:
        block = BLOCKS[insertion.block](channels, **insertion.options)
    except (TypeError, ValueError) as error:
        raise UserError(f"block {insertion.block!r} with options {insertion.options}: {error}") from error
    network.set_submodule(path, InsertedAfter(network.get_submodule(path), block))
    return block


def output_channels(network: nn.Module, paths: Sequence[str]) -> dict[str, int]:
    """Finds how many channels modules put out, without computing anything: shapes alone run, on the meta device.

    Args:
        network: Takes clips (B, 3, T, H, W).
        paths: Module paths within the network.

    Returns:
        Channels by path.
    """
    channels: dict[str, int] = {}

    def record(path: str) -> Any:
        return lambda module, inputs, output: channels.update({path: output.shape[1]})

    hooks = [network.get_submodule(path).register_forward_hook(record(path)) for path in paths]
    shapes = {name: torch.empty_like(value, device="meta") for name, value in network.state_dict().items()}
    try:
        with torch.no_grad():
            torch.func.functional_call(network, shapes, (torch.empty(1, 3, 16, 64, 64, device="meta"),))
    finally:
        for hook in hooks:
            hook.remove()
    return channels
