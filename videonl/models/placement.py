"""Which block stands after which residual of a backbone, and how it gets there."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from videonl.backbones import Backbone
from videonl.blocks import BLOCKS, AttentionBlock
from videonl.errors import UserError
from videonl.models.wrapping import Handover, InsertedAfter

Place = tuple[str, int]  # a stage and one of its residuals
Stages = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Insertion:
    """One kind of block and the residuals it follows.

    Attributes:
        block: Short name of the block, for example ``nonlocal``.
        after: For each stage the 0-based indices of the residuals that the block follows: ``{res3: [1, 3]}``.
        options: Keyword arguments of the block.
        low: For a block that reads a second, earlier stage: that stage, ``res4``, or one residual of it, ``res4.3``.
            The block gets what leaves it, blocks inserted there included.
    """

    block: str
    after: dict[str, list[int]]
    options: dict[str, Any] = field(default_factory=dict)
    low: str | None = None


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
    stages, network = backbone.stages, backbone.network
    wanted = _plan(stages, insertions)
    if not wanted:
        return {}
    lows = {place: low for place in wanted if (low := _low_place(stages, place, wanted[place])) is not None}
    paths = {place: stages[place[0]][place[1]] for place in [*wanted, *lows.values()]}
    channels = output_channels(network, list(paths.values()))
    # All blocks are built before the first is inserted, so that a refusal leaves the backbone alone.
    blocks = {}
    for place, insertion in wanted.items():
        low_channels = channels[paths[lows[place]]] if place in lows else None
        blocks[place] = _build(insertion, channels[paths[place]], low_channels)
    for place, block in blocks.items():
        _wrap(network, paths[place], block, paths[lows[place]] if place in lows else None)
    return {f"{stage}.{index}": block for (stage, index), block in blocks.items()}


def _wrap(network: nn.Module, path: str, block: AttentionBlock, low_path: str | None) -> None:
    handover = None
    if low_path is not None:
        handover = Handover()
        # Places are wrapped in network order, so a block after the low residual already stands in its wrapper.
        network.get_submodule(low_path).register_forward_hook(handover.keep)
    network.set_submodule(path, InsertedAfter(network.get_submodule(path), block, handover))


def _build(insertion: Insertion, channels: int, low_channels: int | None) -> AttentionBlock:
    block = BLOCKS[insertion.block]
    known = [name for name in inspect.signature(block).parameters if name not in ("channels", "low_channels")]
    for name in insertion.options:
        if name not in known:
            raise UserError(
                f"unknown option {name!r} of block {insertion.block!r}; its options are: {', '.join(known) or 'none'}"
            )
    low = {} if low_channels is None else {"low_channels": low_channels}
    try:
        return block(channels, **low, **insertion.options)
    except (TypeError, ValueError) as error:
        raise UserError(f"block {insertion.block!r} with options {insertion.options}: {error}") from error


def _plan(stages: Stages, insertions: Sequence[Insertion]) -> dict[Place, Insertion]:
    """What stands where, in the order in which a clip meets it."""
    wanted: dict[Place, Insertion] = {}
    for insertion in insertions:
        if insertion.block not in BLOCKS:
            raise UserError(f"unknown block {insertion.block!r}; the blocks are: {', '.join(sorted(BLOCKS))}")
        for stage, indices in insertion.after.items():
            for index in indices:
                _check_residual(stages, stage, index)
                if (stage, index) in wanted:
                    raise UserError(f"two blocks are placed after residual {index} of {stage}; name it once")
                wanted[stage, index] = insertion
    return {place: wanted[place] for place in sorted(wanted, key=lambda place: _order(stages, place))}


def _check_residual(stages: Stages, stage: str, index: int) -> None:
    if stage not in stages:
        raise UserError(f"unknown stage {stage!r} for a block; this backbone has: {', '.join(stages)}")
    if not 0 <= index < len(stages[stage]):
        raise UserError(
            f"residual {index} of {stage} does not exist; {stage} has residuals 0 to {len(stages[stage]) - 1}"
        )


def _order(stages: Stages, place: Place) -> tuple[int, int]:
    return list(stages).index(place[0]), place[1]


def _low_place(stages: Stages, place: Place, insertion: Insertion) -> Place | None:
    """The residual whose features the block at a place reads besides its own; None for blocks that read one stage."""
    name, low = insertion.block, insertion.low
    if not BLOCKS[name].takes_low:
        if low is None:
            return None
        fusing = ", ".join(sorted(other for other, block in BLOCKS.items() if block.takes_low))
        raise UserError(f"block {name!r} reads no second stage, so low: {low} has no meaning; these do: {fusing}")
    if low is None:
        raise UserError(f"block {name!r} reads an earlier stage: give low, one of {', '.join(stages)}")
    stage, dot, residual = low.partition(".")
    if dot and not residual.isdecimal():
        raise UserError(f"low {low!r} is neither a stage such as res4 nor a residual of one such as res4.3")
    # Without an index the stage's last residual; 0 stands in for it until the stage is known to exist.
    _check_residual(stages, stage, int(residual) if dot else 0)
    source = stage, int(residual) if dot else len(stages[stage]) - 1
    if _order(stages, source) >= _order(stages, place):
        raise UserError(f"low {low!r} does not come before {place[0]}.{place[1]}, where block {name!r} stands")
    return source


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
