"""Draws maps into pixels: colors over frames, the query's square, whole-number enlargement."""

import math

import torch
from torch import Tensor

from videonl.visualization.grid import Position, center_of, pixels_of, spread
from videonl.visualization.maps import SpacetimeMap

COLOR_MAP = "inferno"
MAX_ALPHA = 0.85  # the frame stays recognizable under the strongest weight

_BLACK, _CYAN = (0, 0, 0), (0, 255, 255)
# From the outside in, one pixel each. Dark on both sides, so that the square shows on bright and on dark ground.
_SQUARE = (_BLACK, _CYAN, _CYAN, _BLACK)
_FAINT_SQUARE = (_CYAN,)
_FAINT_ALPHA = 0.45


def overlay(frames: Tensor, shown: SpacetimeMap) -> Tensor:
    """Lays a map over the frames as color: clear at 0, brightest and nearly opaque at the largest value.

    One scale serves the whole clip, so colors compare across frames. Every pixel shows the value of the key cell that
    covers it (see `grid.spread`). Negative values, which evidence and weights without softmax may have, count as 0.

    Args:
        frames: (T, H, W, 3) uint8, the clip's frames before normalization.
        shown: the map to show.

    Returns:
        (T, H, W, 3) uint8.

    Raises:
        ValueError: ``frames`` are of another shape or type.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, got {tuple(frames.shape)} {frames.dtype}")
    strength = spread(shown.values, shown.grid, frames.shape[:3]).clamp(min=0) / full_value(shown)
    table = color_table()[(strength * 255).round().long()]  # (T, H, W) -> (T, H, W, 4)
    color, alpha = table[..., :3], table[..., 3:]
    return torch.lerp(frames.cpu().float(), color * 255, alpha).round().to(torch.uint8)


def full_value(shown: SpacetimeMap) -> float:
    """The value drawn in full color: the largest of the map, or 1 where none is positive."""
    largest = float(shown.values.max())
    return largest if largest > 0 else 1.0


def color_table() -> Tensor:
    """(256, 4) red, green, blue, alpha in 0 to 1: a perceptually uniform map, opacity in proportion to the value."""
    import matplotlib  # here: it takes a second, and commands that draw nothing need not wait for it

    steps = torch.linspace(0, 1, 256)
    color = torch.from_numpy(matplotlib.colormaps[COLOR_MAP](steps.numpy())[:, :3]).float()
    return torch.cat([color, MAX_ALPHA * steps[:, None]], dim=1)


def query_frame(shown: SpacetimeMap, frames: Tensor) -> int | None:
    """The index of the frame the query lies in; None where nobody asks."""
    return None if shown.cell is None else center_of(shown.cell, shown.grid, frames.shape[:3])[0]


def enlarged(frames: Tensor, min_px: int) -> Tensor:
    """Repeats pixels a whole number of times until the shorter side has ``min_px`` or more.

    Args:
        frames: (T, H, W, 3).
        min_px: the least height and width wanted.
    """
    factor = max(1, math.ceil(min_px / min(frames.shape[1:3])))
    return frames.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def marked(frame: Tensor, shown: SpacetimeMap, faint: bool = False) -> Tensor:
    """Draws a square around the query's cell, or only hints at it; nothing where nobody asks.

    Args:
        frame: (H, W, 3) uint8.
        shown: the map whose query is marked.
        faint: a thin see-through square, for the frames the query is not in.

    Returns:
        (H, W, 3) uint8, a copy.
    """
    frame = frame.clone()
    if shown.cell is None:
        return frame
    rings = _FAINT_SQUARE if faint else _SQUARE
    alpha = _FAINT_ALPHA if faint else 1.0
    rows, columns = (_around(shown.cell, shown.grid, axis, frame.shape[axis - 1], len(rings)) for axis in (1, 2))
    for inset, color in enumerate(rings):
        inside = frame[rows.start + inset : rows.stop - inset, columns.start + inset : columns.stop - inset]
        _outline(inside, torch.tensor(color), alpha)
    return frame


def _around(cell: Position, grid: Position, axis: int, num_pixels: int, margin: int) -> range:
    # Outside the cell, so that its own color can be seen, but never off the frame, so that the square stays whole.
    pixels = pixels_of(cell[axis], grid[axis], num_pixels)
    return range(max(pixels.start - margin, 0), min(pixels.stop + margin, num_pixels))


def _outline(area: Tensor, color: Tensor, alpha: float) -> None:
    ring = torch.zeros(area.shape[:2], dtype=torch.bool)
    if not ring.numel():
        return
    ring[[0, -1]] = True
    ring[:, [0, -1]] = True
    blended = torch.lerp(area[ring].float(), color.float(), alpha)
    area[ring] = blended.round().to(torch.uint8)
