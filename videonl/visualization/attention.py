"""Attention maps of a network's blocks for a clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from videonl.blocks.contract import AttentionBlock
from videonl.visualization.features import Observation, clip_size, observe, require_blocks, require_finite
from videonl.visualization.grid import Position, cell_of, center_of
from videonl.visualization.queries import require_inside


@dataclass(frozen=True)
class AttentionMap:
    """The attention weights of one block at one query position.

    Attributes:
        block: the block's name in the network.
        query: (frame, y_px, x_px), the center of the query's cell in the clip's frames and pixels.
        grid: (T, H, W) of the block's input, in cells.
        cell: (t, y, x), the query's cell in ``grid``.
        weights: (T', H', W') over the block's key grid, float32 on the CPU. Softmax forms sum to 1; others may hold
            negative weights.
    """

    block: str
    query: Position
    grid: Position
    cell: Position
    weights: Tensor

    quantity: ClassVar[str] = "weight"

    @property
    def title(self) -> str:
        """The block's name."""
        return self.block

    @property
    def details(self) -> str:
        """The query and the grid."""
        (frame, y, x), cells = self.query, " x ".join(map(str, self.grid))
        return f"query: frame {frame}, y {y}, x {x}    grid: {cells}"

    @property
    def values(self) -> Tensor:
        """The weights."""
        return self.weights


def attention_maps(
    network: nn.Module,
    blocks: Mapping[str, AttentionBlock],
    clip: Tensor,
    queries: Sequence[Position | None] = (None,),
) -> dict[str, list[AttentionMap]]:
    """Runs the network once on a clip and returns what each block attends to.

    The network runs in evaluation mode without gradients; its training flags and hooks are as before when this returns
    or raises.

    Args:
        network: takes ``clip`` and runs every one of ``blocks``.
        blocks: the network's attention blocks by name.
        clip: (1, C, T, H, W), normalized, on the network's device.
        queries: (frame, y_px, x_px) in the clip. ``None`` takes for each block the position whose features it
            changed most, by the L2 norm over channels of output - input; for a block that changed nothing (blocks start
            as the identity), the center of its grid.

    Returns:
        For each block, in the order of ``blocks``, one map for each query.

    Raises:
        UserError: there are no blocks, a query lies outside the clip, or a block's weights are not finite.
        ValueError: ``clip`` is not one clip, or the network did not run one of the blocks.

    """
    size = clip_size(clip)
    for query in queries:
        if query is not None:
            require_inside(query, size)
    require_blocks(blocks)
    return maps_of(observe(network, blocks, clip), blocks, queries)


def maps_of(
    seen: Observation, blocks: Mapping[str, AttentionBlock], queries: Sequence[Position | None]
) -> dict[str, list[AttentionMap]]:
    """The attention maps of some observed blocks; arguments, result and errors are those of :func:`attention_maps`."""
    return {name: _maps_of_block(seen, name, block, queries) for name, block in blocks.items()}


def _maps_of_block(
    seen: Observation, name: str, block: AttentionBlock, queries: Sequence[Position | None]
) -> list[AttentionMap]:
    x, *low = seen.features[name]
    grid, size = (x.shape[2], x.shape[3], x.shape[4]), seen.size
    cells = []
    for query in queries:
        if query is not None:
            require_inside(query, size)
        cells.append(seen.most_changed[name] if query is None else cell_of(query, grid, size))
    asked = torch.tensor([flat_index(cell, grid) for cell in cells], device=x.device)
    with torch.no_grad():
        weights = block.attention(x, asked, *low)[0].float().cpu()
    require_finite(name, weights)
    return [
        AttentionMap(name, center_of(cell, grid, size), grid, cell, rows)
        for cell, rows in zip(cells, weights, strict=True)
    ]


def flat_index(cell: Position, grid: Position) -> int:
    """The index of a cell in the grid's row-major order.

    >>> flat_index((1, 0, 2), grid=(3, 5, 7))
    37
    """
    (t, y, x), (_, height, width) = cell, grid
    return (t * height + y) * width + x
