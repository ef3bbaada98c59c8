"""Whether a probe attends to its cue, on clips where both places are known."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from videonl.blocks import AttentionBlock
from videonl.data.synthetic.clues import Box
from videonl.diagnostics import measures
from videonl.visualization.features import require_finite
from videonl.visualization.grid import Position, cell_of, keys_of_pixels


class Clued(NamedTuple):
    """Where the label of a clip can be read.

    Attributes:
        kinds: What the clip is one of, such as ``cue bar`` and ``probe pole``.
        cue: Where the cue shows.
        probe: Where the probe shows.
    """

    kinds: tuple[str, ...]
    cue: Box
    probe: Box


class CueShare(NamedTuple):
    """Share of a block's weight on the cue, for queries at the probe.

    Attributes:
        on_cue: Share of the weight on the keys that the cue touches.
        area: Share of the keys that it touches, which is its share of uniform weights.
        on_probe: Share of the weight on the keys that the probe touches itself.
    """

    on_cue: float
    area: float
    on_probe: float

    @property
    def ratio(self) -> float:
        """The share relative to uniform weights."""
        return self.on_cue / self.area


class CueFigures(NamedTuple):
    """The mean over the clips of one kind."""

    kind: str
    num_clips: int
    share: CueShare


def mean_by_kind(found: Iterable[tuple[tuple[str, ...], CueShare]]) -> list[CueFigures]:
    """The means over clips of each kind, and of all under ``all``; a clip counts under each of its kinds."""
    by_kind: dict[str, list[CueShare]] = {}
    everything = []
    for kinds, share in found:
        everything.append(share)
        for kind in kinds:
            by_kind.setdefault(kind, []).append(share)
    rows = [*sorted(by_kind.items()), ("all", everything)] if everything else []
    return [_mean(kind, shares) for kind, shares in rows]


def _mean(kind: str, shares: list[CueShare]) -> CueFigures:
    return CueFigures(kind, len(shares), CueShare(*(sum(values) / len(shares) for values in zip(*shares, strict=True))))


@torch.no_grad()
def cue_share(
    block: AttentionBlock, name: str, features: tuple[Tensor, ...], clued: Clued, size: Position
) -> CueShare | None:
    """Measures the weight on the cue, for queries at the center of the probe in each of its frames.

    Args:
        block: A block that has attention.
        name: Its name, for messages.
        features: Its inputs: x (1, C, T, H, W), and the features of an earlier stage for blocks that take them.
        clued: Where cue and probe are.
        size: (T, H, W) of the clip, in frames and pixels.

    Returns:
        The mean over the probe's frames; None where its weights are all zero, or no key lies on the cue.

    Raises:
        UserError: The weights are not finite.
    """
    x, *low = features
    grid = (x.shape[2], x.shape[3], x.shape[4])
    cells = {cell_of((frame, *clued.probe.middle_px), grid, size) for frame in clued.probe.frames}
    flat = [(t * grid[1] + y) * grid[2] + column for t, y, column in sorted(cells)]
    signed = block.attention(x, torch.tensor(flat, device=x.device), *low)
    require_finite(name, signed)
    weights = measures.distribution(signed.cpu())
    loud = weights[0].flatten(1).any(dim=1)
    cue, probe = (
        keys_in(box, (weights.shape[2], weights.shape[3], weights.shape[4]), grid, size)
        for box in (clued.cue, clued.probe)
    )
    area = float(torch.stack([keys.double().mean() for keys in cue]).prod())
    if not loud.any() or not area:
        return None
    on_cue, on_probe = (float(measures.box_share(weights[:, loud], *keys).mean()) for keys in (cue, probe))
    return CueShare(on_cue, area, on_probe)


def keys_in(box: Box, keys: Position, grid: Position, size: Position) -> tuple[Tensor, Tensor, Tensor]:
    """Which key frames, rows and columns a box of pixels touches: (1, T'), (1, H') and (1, W') bool."""

    def touched(pixels: Sequence[int], axis: int) -> Tensor:
        of_pixels = keys_of_pixels(keys[axis], grid[axis], size[axis])
        return torch.isin(torch.arange(keys[axis]), of_pixels[list(pixels)])[None]

    return touched(box.frames, 0), touched(box.rows, 1), touched(box.columns, 2)
