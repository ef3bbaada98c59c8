"""Where a block attends in one clip: measures of some queries' weights, and those of uniform attention."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from videonl.blocks import AttentionBlock
from videonl.diagnostics import measures
from videonl.visualization.features import require_finite
from videonl.visualization.grid import Position, key_centers, keys_at

_AT_ONCE = 1 << 22  # weights of queries that are measured at once, 32 MiB each in float64


class Looking(NamedTuple):
    """Means over queries; the four shares sum to 1.

    Attributes:
        entropy: Divided by log M: 0 for a single key, 1 for uniform attention.
        itself: Share of the weight on the query's own cell.
        own_frame: On the rest of its frame.
        own_place: On its cell of the other frames.
        elsewhere: On all other cells: other places in other frames.
        frames_away: Mean distance in time, in frames of the clip.
        seconds_away: The same in seconds of the video.
        px_away: Mean distance in space, in pixels of the crop.
    """

    entropy: float
    itself: float
    own_frame: float
    own_place: float
    elsewhere: float
    frames_away: float
    seconds_away: float
    px_away: float


class Attention(NamedTuple):
    """The measures of a block's weights.

    Attributes:
        looking: Of the weights.
        even: Of uniform attention at the same queries.
        num_keys: M.
        unevenness: Share of the weight that would have to move to make it uniform.
        query_distance: Mean cosine distance between two queries' maps, with their signs; 0: identical, 0.5: disjoint,
            1: opposite.
        negative: Share of the weight with a negative sign; only the dot product has any.
        silent: Share of the queries whose weights are all zero; the other measures exclude them.
    """

    looking: Looking
    even: Looking
    num_keys: float
    unevenness: float
    query_distance: float
    negative: float
    silent: float


def mean_attention(clips: Sequence[Attention], num_silent: int = 0) -> Attention:
    """The mean over clips; clips whose every query is silent count for that share alone."""
    looking, even = (Looking(*map(float, np.mean(part, axis=0))) for part in list(zip(*clips, strict=True))[:2])
    mean = Attention(looking, even, *map(float, np.mean([clip[2:] for clip in clips], axis=0)))
    silent = (mean.silent * len(clips) + num_silent) / (len(clips) + num_silent)
    return mean._replace(silent=silent)


@dataclass(frozen=True)
class Asked:
    """Queries of one block, and the places of its keys relative to them.

    Args:
        cells: (t, y, x) of the queries in the block's grid, (Q, 3) int64.
        grid: (T, H, W) of the block's input.
        keys: (T', H', W') of its keys.
        size: (T, H, W) of the clip, in frames and pixels.
        seconds: For each frame its time in the video.
    """

    cells: Tensor
    grid: Position
    keys: Position
    size: Position
    seconds: Sequence[float]

    def look(self, weights: Tensor) -> Tensor:
        """The numbers of :class:`Looking` for every query: (1, Q, T', H', W') -> (Q, 8)."""
        frames, rows, columns = (keys_at(self.cells[:, axis], self.keys[axis], self.grid[axis]) for axis in range(3))
        everywhere = torch.ones(1, 1, dtype=torch.bool)
        frame = measures.box_share(weights, frames, everywhere, everywhere)
        place = measures.box_share(weights, everywhere, rows, columns)
        itself = measures.box_share(weights, frames, rows, columns)
        shares = [itself, frame - itself, place - itself, 1 - frame - place + itself]
        return torch.stack([measures.entropy(weights), *shares, *self._away(weights)], dim=-1)[0]

    def _away(self, weights: Tensor) -> list[Tensor]:
        time, y, x = (self._offsets(axis) for axis in range(3))
        places = torch.hypot(y[:, :, None], x[:, None, :])  # (Q, H'), (Q, W') -> (Q, H', W')
        return [
            measures.mean_over_frames(weights, time.abs()),
            measures.mean_over_frames(weights, self._offsets(0, self.seconds).abs()),
            measures.mean_over_places(weights, places),
        ]

    def _offsets(self, axis: int, ticks: Sequence[float] | None = None) -> Tensor:
        """From each query's center to each key's along an axis, in pixels or frames, or by ticks of the frames."""
        num_keys, num_cells, num_pixels = self.keys[axis], self.grid[axis], self.size[axis]
        to = key_centers(num_keys, num_cells, num_pixels)
        start = key_centers(num_cells, num_cells, num_pixels)[self.cells[:, axis]]
        if ticks is not None:  # the center of frame 0 is 0.5 frames from the edge
            to, start = (torch.from_numpy(np.interp(edge - 0.5, range(num_pixels), ticks)) for edge in (to, start))
        return to - start[:, None]


@torch.no_grad()
def measure_attention(
    block: AttentionBlock,
    name: str,
    features: tuple[Tensor, ...],
    cells: Tensor,
    size: Position,
    seconds: Sequence[float],
) -> Attention | None:
    """Measures the attention of some query positions of a clip.

    Args:
        block: A block that has attention.
        name: Its name, for messages.
        features: Its inputs: x (1, C, T, H, W), and the features of an earlier stage for blocks that take them.
        cells: (t, y, x) of the query positions, (Q, 3) int64.
        size: (T, H, W) of the clip, in frames and pixels.
        seconds: For each frame its time in the video.

    Returns:
        The figures; None where all weights of all of them are zero, which the concatenation may have.

    Raises:
        UserError: The weights are not finite.
    """
    x, keys = features[0], key_grid(block, features)
    parts = cells.split(max(1, _AT_ONCE // math.prod(keys)))
    grid = (x.shape[2], x.shape[3], x.shape[4])
    measured = [_measure(block, name, features, Asked(part, grid, keys, size, seconds)) for part in parts]
    rows, negative, units = zip(*measured, strict=True)
    table = torch.cat(rows)
    if not len(table):
        return None
    means, width = table.mean(dim=0).tolist(), len(Looking._fields)
    return Attention(
        Looking(*means[:width]),
        Looking(*means[width : 2 * width]),
        num_keys=math.prod(keys),
        unevenness=means[-1],
        query_distance=float(measures.distance_of(sum(units, torch.zeros(())), len(table))[0]),
        negative=sum(negative) / len(table),
        silent=1 - len(table) / len(cells),
    )


def _measure(
    block: AttentionBlock, name: str, features: tuple[Tensor, ...], asked: Asked
) -> tuple[Tensor, float, Tensor]:
    """A row of figures for each query that has weights, the sum of their negative shares, and of their unit maps."""
    x, *low = features
    queries = flat_indices(asked.cells, asked.grid).to(x.device)
    signed = block.attention(x, queries, *low)
    require_finite(name, signed)
    loud = signed[0].flatten(1).any(dim=1)
    signed, queries, asked = signed[:, loud].cpu(), queries[loud], replace(asked, cells=asked.cells[loud.cpu()])
    weights = measures.distribution(signed)
    even = measures.distribution(block.uniform_attention(features, queries, signed.shape[2:]).cpu())
    unevenness = measures.unevenness(weights, even).mT  # (1, Q) -> (Q, 1)
    rows = torch.cat([asked.look(weights), asked.look(even), unevenness], dim=1)
    return rows, float(weights[signed < 0].sum()), measures.unit_sum(signed.double())


def flat_indices(cells: Tensor, grid: Position) -> Tensor:
    """Where cells (Q, 3) stand in the grid's row-major order, (Q,)."""
    return (cells[:, 0] * grid[1] + cells[:, 1]) * grid[2] + cells[:, 2]


def key_grid(block: AttentionBlock, features: tuple[Tensor, ...]) -> Position:
    """The key grid (T', H', W') of a block."""
    x, *low = features
    frames, height, width = block.attention(x, torch.zeros(1, dtype=torch.int64, device=x.device), *low).shape[2:]
    return frames, height, width
