"""Places blocks after modules of a backbone, and inserts them."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from videonl.backbones import Backbone
from videonl.blocks import BLOCKS, AttentionBlock
from videonl.errors import UserError
from videonl.models.channels import output_channels
from videonl.models.places import Place, find_place, residual
from videonl.models.wrapping import Handover, InsertedAfter

PLACEMENTS: dict[str, dict[str, list[int]]] = {
    "one_r50": {"res4": [4]},
    "five_r50": {"res3": [1, 3], "res4": [1, 3, 5]},
    "ten_r50": {"res3": [0, 1, 2, 3], "res4": [0, 1, 2, 3, 4, 5]},
    "every_r50": {"res3": [0, 1, 2, 3], "res4": [0, 1, 2, 3, 4, 5], "res5": [0, 1, 2]},
    "five_r101": {"res3": [1, 3], "res4": [6, 13, 20]},
}
"""Published placements by name: section 4 of arXiv:1711.07971, and arXiv:1904.11492 for ``every_r50``."""


@dataclass(frozen=True)
class Insertion:
    """One kind of block and the modules it follows.

    Attributes:
        block: Short name of the block, for example ``nonlocal``; or the dotted path of a class of your own.
        after: For each stage the 0-based indices of the residuals that the block follows, ``{res3: [1, 3]}``; or a list
            of places: a stage for its last residual, ``res4``; one residual, ``res4.3``; or any module by its path
            within the network, ``layer3.1``. A single place or a name of ``PLACEMENTS`` needs no list.
        options: Keyword arguments of the block.
        low: For a block that reads a second, earlier part of the network: its place, as in the list form of ``after``.
            The block gets the output of that place, including blocks inserted there.
    """

    block: str
    after: dict[str, list[int]] | list[str] | str
    options: dict[str, Any] = field(default_factory=dict)
    low: str | None = None


def insert(backbone: Backbone | nn.Module, insertions: Sequence[Insertion]) -> dict[str, AttentionBlock]:
    """Inserts blocks into a backbone's network, in place.

    Args:
        backbone: The network to change and its stages; or any network, in which places are module paths.
        insertions: What to insert where.

    Returns:
        The inserted blocks in network order, by the name of their place: ``res4.3`` for the block after residual 3 of
        res4, the module's path where it belongs to no stage.

    Raises:
        UserError: For an unknown block, stage, residual or module, a place named twice, or options the block refuses;
            the message lists what exists.
    """
    if not isinstance(backbone, Backbone):
        backbone = Backbone(backbone, {})
    network = backbone.network
    wanted = _plan(backbone, insertions)
    if not wanted:
        return {}
    lows = {place: low for place in wanted if (low := _low_place(backbone, wanted[place])) is not None}
    channels = output_channels(network, [place.path for place in [*wanted, *lows.values()]])
    order = {path: position for position, path in enumerate(channels)}  # in which a clip meets them
    # All blocks are built before the first is inserted, so that a refusal leaves the backbone alone.
    blocks: dict[Place, AttentionBlock] = {}
    for place in sorted(wanted, key=lambda place: order[place.path]):
        low, insertion = lows.get(place), wanted[place]
        if low is not None and order[low.path] >= order[place.path]:
            where = f"{place.name}, where block {insertion.block!r} stands"
            raise UserError(f"low {insertion.low!r} does not come before {where}")
        blocks[place] = _build(insertion, channels[place.path], None if low is None else channels[low.path])
    _wrap(network, blocks, lows)
    return {place.name: block for place, block in blocks.items()}


def _wrap(network: nn.Module, blocks: Mapping[Place, AttentionBlock], lows: Mapping[Place, Place]) -> None:
    # Looked up before the first wrapper changes the paths of what it wraps.
    standing = {place.path: network.get_submodule(place.path) for place in [*blocks, *lows.values()]}
    for place, block in blocks.items():
        handover = None
        if place in lows:
            handover = Handover()
            # Places are wrapped in network order, so a block after the low module already stands in its wrapper.
            standing[lows[place].path].register_forward_hook(handover.keep)
        standing[place.path] = InsertedAfter(standing[place.path], block, handover)
        # A module that holds others ends after them, so it is wrapped after them and their paths are still good.
        network.set_submodule(place.path, standing[place.path])


def find_block(name: str) -> type[AttentionBlock]:
    """A block by its short name, or by the dotted path of its class.

    Raises:
        UserError: There is none, or what the path names is no block.
    """
    block = BLOCKS.find(name)
    if not (inspect.isclass(block) and issubclass(block, AttentionBlock)):
        raise UserError(f"block {name} is not a subclass of videonl.blocks.AttentionBlock; see docs/extend.md")
    return block


def _build(insertion: Insertion, channels: int, low_channels: int | None) -> AttentionBlock:
    block = find_block(insertion.block)
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


def _plan(backbone: Backbone, insertions: Sequence[Insertion]) -> dict[Place, Insertion]:
    """What stands where."""
    wanted: dict[Place, Insertion] = {}
    for insertion in insertions:
        find_block(insertion.block)
        for place in places_of(backbone, insertion):
            if place in wanted:
                raise UserError(f"two blocks are placed after {place.name}; name it once")
            wanted[place] = insertion
    return wanted


def places_of(backbone: Backbone, insertion: Insertion) -> list[Place]:
    """The modules that an insertion's blocks follow."""
    after: Mapping[str, list[int]] | list[str] | str = insertion.after
    if isinstance(after, str):
        after = PLACEMENTS.get(after, [after])
    if isinstance(after, Mapping):
        return [residual(backbone, stage, index) for stage, indices in after.items() for index in indices]
    return [find_place(backbone, name) for name in after]


def _low_place(backbone: Backbone, insertion: Insertion) -> Place | None:
    """The second input of a block; None for blocks with a single input."""
    name, low = insertion.block, insertion.low
    if not find_block(name).takes_low:
        if low is None:
            return None
        fusing = ", ".join(sorted(other for other, block in BLOCKS.items() if block.takes_low))
        raise UserError(f"block {name!r} takes no second stage, so low: {low} has no meaning; blocks that do: {fusing}")
    if low is None:
        raise UserError(f"block {name!r} needs an earlier stage: set low to one of {', '.join(backbone.stages)}")
    return find_place(backbone, low)
