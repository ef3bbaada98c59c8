"""Reads from a network which positions of a clip one position attends to."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videonl.blocks.contract import AttentionBlock
from videonl.errors import UserError
from videonl.visualization.grid import Position, cell_of, centre_of


@dataclass(frozen=True)
class AttentionMap:
    """The weights with which one block, at one query position, gathers from all the others.

    Attributes:
        block: the block's name in the network.
        query: (frame, y_px, x_px), the centre of the query's cell in the clip's frames and pixels.
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


def attention_maps(
    network: nn.Module, blocks: Mapping[str, AttentionBlock], clip: Tensor, query: Position | None = None
) -> list[AttentionMap]:
    """Runs the network once on a clip and returns what each block attends to.

    The network runs in evaluation mode without gradients; its training flags and hooks are as before when this returns
    or raises.

    Args:
        network: takes ``clip`` and runs every one of ``blocks``.
        blocks: the network's attention blocks by name.
        clip: (1, C, T, H, W), normalised, on the network's device.
        query: (frame, y_px, x_px) in the clip. ``None`` asks each block for the position whose features it changed
            most, by the L2 norm over channels of output - input; a block that changed nothing at all (blocks start as
            the identity) is asked for the centre of its grid.

    Returns:
        One map for each block, in the order of ``blocks``.

    Raises:
        UserError: there are no blocks, the query lies outside the clip, or a block's weights are not finite.
        ValueError: ``clip`` is not one clip, or the network did not run one of the blocks.

    """
    size = _clip_size(clip)
    if not blocks:
        raise UserError(
            "the network has no attention blocks inserted, so there is nothing to look at; choose a model whose "
            "configuration places blocks"
        )
    if query is not None:
        _require_inside(query, size)
    maps: dict[str, AttentionMap] = {}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(_evaluating(network))
        for name, block in blocks.items():
            stack.enter_context(block.register_forward_hook(_Reader(name, size, query, maps)))
        network(clip)
    if missing := [name for name in blocks if name not in maps]:
        raise ValueError(f"the network did not run the blocks {missing}; hand in the blocks inserted into this network")
    return [maps[name] for name in blocks]


def parse_query(text: str) -> Position:
    """Reads a query position from the command line.

    >>> parse_query("4,36,20")
    (4, 36, 20)

    Raises:
        UserError: the text is not three whole numbers.
    """
    try:
        frame, y, x = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(
            f"query {text!r} is not three whole numbers frame,y,x; write for example 4,36,20 for frame 4, row 36, "
            "column 20"
        ) from error
    return frame, y, x


@dataclass(frozen=True)
class _Reader:
    """A forward hook that reads one block's map at once: a later in-place layer may overwrite the block's features."""

    name: str
    size: Position
    query: Position | None
    maps: dict[str, AttentionMap]

    def __call__(self, block: AttentionBlock, args: tuple[Tensor, ...], output: Tensor) -> None:
        x, *low = args  # some blocks read the features of an earlier stage too
        _, _, *shape = x.shape
        grid = (shape[0], shape[1], shape[2])
        cell = _most_changed(x, output) if self.query is None else cell_of(self.query, grid, self.size)
        weights = block.attention(x, _flat_index(cell, grid, x.device), *low)[0, 0].float().cpu()
        if not weights.isfinite().all():
            raise UserError(
                f"block {self.name!r} computed attention weights that are not finite; its parameters or the clip hold "
                "NaN, infinite or too large numbers: try another checkpoint, or run in float32"
            )
        self.maps[self.name] = AttentionMap(self.name, centre_of(cell, grid, self.size), grid, cell, weights)


def _most_changed(x: Tensor, output: Tensor) -> Position:
    change = (output - x)[0].float().norm(dim=0)  # (C, T, H, W) -> (T, H, W)
    if not change.any():
        return change.shape[0] // 2, change.shape[1] // 2, change.shape[2] // 2
    t, y, x_cell = torch.unravel_index(change.argmax(), change.shape)
    return int(t), int(y), int(x_cell)


def _flat_index(cell: Position, grid: Position, device: torch.device) -> Tensor:
    (t, y, x), (_, height, width) = cell, grid
    return torch.tensor([(t * height + y) * width + x], device=device)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    # Flag by flag, because a network in training may hold frozen parts that train(True) would wake.
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training


def _clip_size(clip: Tensor) -> Position:
    if clip.ndim != 5 or clip.shape[0] != 1:
        raise ValueError(f"clip must be one clip (1, C, T, H, W), got shape {tuple(clip.shape)}")
    return clip.shape[2], clip.shape[3], clip.shape[4]


def _require_inside(query: Position, size: Position) -> None:
    if not all(0 <= q < s for q, s in zip(query, size, strict=True)):
        frames, height, width = size
        raise UserError(
            f"query {query} lies outside the clip, whose size (T, H, W) is {size}: choose frame 0 to {frames - 1}, "
            f"y 0 to {height - 1}, x 0 to {width - 1}"
        )
