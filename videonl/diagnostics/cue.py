"""Whether a probe reads its cue, on clips where it is known where both are."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from videonl.blocks import AttentionBlock
from videonl.data.synthetic_clues import Box
from videonl.diagnostics import measures
from videonl.visualization.features import require_finite
from videonl.visualization.grid import Position, cell_of, keys_of_pixels


class Clued(NamedTuple):
    """Where the label of a clip can be read.

    Attributes:
        kind: The probe's shape.
        cue: Where the cue shows.
        probe: Where the probe shows.
    """

    kind: str
    cue: Box
    probe: Box


class CueShare(NamedTuple):
    """How much of a block's weight lies on the cue when the probe asks.

    Attributes:
        on_cue: Share of the weight on the keys that the cue touches.
        area: Share of the keys that it touches: what weights that are alike everywhere would give.
    """

    on_cue: float
    area: float

    @property
    def ratio(self) -> float:
        """How many times as much as even weights."""
        return self.on_cue / self.area


class CueFigures(NamedTuple):
    """The mean over the clips with one kind of probe."""

    kind: str
    num_clips: int
    share: CueShare


def mean_by_kind(found: Iterable[tuple[str, CueShare]]) -> list[CueFigures]:
    """The means over clips, kind by kind, and of all under ``all``."""
    by_kind: dict[str, list[CueShare]] = {}
    for kind, share in found:
        by_kind.setdefault(kind, []).append(share)
    rows = sorted(by_kind.items())
    everything = [share for _, shares in rows for share in shares]
    return [_mean(kind, shares) for kind, shares in ([*rows, ("all", everything)] if everything else [])]


def _mean(kind: str, shares: list[CueShare]) -> CueFigures:
    on_cue, area = (sum(values) / len(shares) for values in zip(*shares, strict=True))
    return CueFigures(kind, len(shares), CueShare(on_cue, area))


@torch.no_grad()
def cue_share(
    block: AttentionBlock, name: str, features: tuple[Tensor, ...], clued: Clued, size: Position
) -> CueShare | None:
    """Asks at the middle of the probe, in each of its frames, and weighs the cue.

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
    pixels = (clued.cue.frames, clued.cue.rows, clued.cue.columns)
    touched = [
        _touched(keys_of_pixels(*axis)[list(inside)], axis[0])
        for inside, axis in zip(pixels, zip(weights.shape[2:], grid, size, strict=True), strict=True)
    ]
    area = torch.stack([keys.double().mean() for keys in touched]).prod()
    if not loud.any() or not area:
        return None
    frames, rows, columns = (keys[None] for keys in touched)
    return CueShare(float(measures.box_share(weights[:, loud], frames, rows, columns).mean()), float(area))


def _touched(keys: Tensor, num_keys: int) -> Tensor:
    """Which keys occur among those of some pixels: (num_keys,) bool."""
    return torch.isin(torch.arange(num_keys), keys)
