"""The diagnosis of a network: every block, over many clips."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from videonl.blocks import AttentionBlock, Gain
from videonl.data.video import Label
from videonl.diagnostics.blocks_off import Effect, effect, made_alike, switched_off
from videonl.diagnostics.cue import Clued, CueFigures, CueShare, cue_share, mean_by_kind
from videonl.diagnostics.looking import Attention, flat_indices, mean_attention, measure_attention
from videonl.diagnostics.measures import contribution
from videonl.diagnostics.saturation import largest_affinity
from videonl.evaluation import Average, VideoScore
from videonl.visualization.features import clip_size, read_features
from videonl.visualization.grid import Position

Change = Callable[[], AbstractContextManager[None]]


class DiagnosedClip(NamedTuple):
    """One clip as the network sees it.

    Attributes:
        number: Its index in the list of videos; seeds its queries.
        path: Its video, as text to show.
        label: Index of the true class, or those of several; see :class:`videonl.data.video.Video`.
        pixels: (1, C, T, H, W), normalized, on the network's device.
        seconds: For each frame its time in the video.
        clued: The places of its cue and probe, for synthetic clips.
    """

    number: int
    path: str
    label: Label
    pixels: Tensor
    seconds: Sequence[float]
    clued: Clued | None = None


@dataclass(frozen=True)
class BlockDiagnosis:
    """The measures of one block.

    Attributes:
        name: Of its place, such as ``res4.3``.
        kind: Of block, such as ``nonlocal, dot_product``.
        depends_on_query: Whether its attention can differ between queries.
        grid: (T, H, W) of its input, in cells.
        attention: Mean over clips; None where it has none, or where all its weights are zero.
        has_attention: Whether it has attention.
        has_softmax: Whether its weights are a distribution.
        affinity: The largest absolute affinity of its softmax; None if it does not expose it.
        gain: Of its last scale, if it has one.
        contribution: ``|block(x) - x| / |x|``, mean over clips.
        effect: The loss of the network without it.
        alike: The loss with the same change at all positions; None for blocks that always change them equally.
        cue: Share of the weight on the cue by the kind of clip, for synthetic ones.
    """

    name: str
    kind: str
    depends_on_query: bool
    grid: Position
    attention: Attention | None
    has_attention: bool
    has_softmax: bool
    affinity: float | None
    gain: Gain | None
    contribution: float
    effect: Effect
    alike: Effect | None
    cue: list[CueFigures]


@dataclass
class _Seen:
    grid: Position = (0, 0, 0)
    attention: list[Attention] = field(default_factory=list)
    num_silent: int = 0
    affinities: list[float] = field(default_factory=list)
    contributions: list[float] = field(default_factory=list)
    cue: list[tuple[tuple[str, ...], CueShare]] = field(default_factory=list)


class Diagnosis:
    """Takes clips one by one and keeps their measures, not their features.

    Args:
        network: In evaluation mode; takes clips (1, C, T, H, W) and runs every one of ``blocks``.
        blocks: Its attention blocks by name, at least one.
        class_names: In the order of its logits.
        num_queries: Number of random query positions in each clip, for each block.
        seed: Seed of the positions.
        gains: The gains of the trained blocks, if their norms have been folded since; by default the current ones.
        average: What the logits mean: ``softmax``, or of several labels ``sigmoid``.
    """

    def __init__(
        self,
        network: nn.Module,
        blocks: Mapping[str, AttentionBlock],
        class_names: list[str],
        num_queries: int = 64,
        seed: int = 0,
        gains: Mapping[str, Gain | None] | None = None,
        average: Average = "softmax",
    ) -> None:
        self.average: Average = average
        self.network = network
        self.blocks = blocks
        self.class_names = class_names
        self.num_queries = num_queries
        self.seed = seed
        self.gains = {name: block.gain() for name, block in blocks.items()} if gains is None else gains
        self._seen = {name: _Seen() for name in blocks}
        self._changes = dict(changes_of(blocks))
        self._scores: dict[str, list[VideoScore]] = {name: [] for name in ("whole", *self._changes)}

    @property
    def scores(self) -> list[VideoScore]:
        """The scores of the whole network, one for each clip so far."""
        return self._scores["whole"]

    def add(self, clip: DiagnosedClip) -> None:
        """Runs the whole network, without each block, with the mean of each block's change, and without all blocks.

        Raises:
            UserError: A block's weights are not finite.
        """

        def read(name: str, features: tuple[Tensor, ...], output: Tensor) -> None:
            self._read(clip, name, features, output)

        # A compiled network may not notice hooks and blocks that are switched off.
        with torch.compiler.set_stance("force_eager"), torch.inference_mode():
            logits = {"whole": read_features(self.network, self.blocks, clip.pixels, read)}
            for name, change in self._changes.items():
                with change():
                    logits[name] = self.network(clip.pixels)
        for name, of_clip in logits.items():
            score = VideoScore(clip.number, clip.path, clip.label, of_clip.float().cpu(), ((0, 0),), self.average)
            self._scores[name].append(score)

    def _read(self, clip: DiagnosedClip, name: str, features: tuple[Tensor, ...], output: Tensor) -> None:
        block, seen, size = self.blocks[name], self._seen[name], clip_size(clip.pixels)
        x = features[0]
        seen.grid = (x.shape[2], x.shape[3], x.shape[4])
        seen.contributions.append(contribution(x, output))
        if not block.weighs_positions:
            return
        cells = random_cells(seen.grid, self.num_queries, (self.seed, clip.number))
        if (found := measure_attention(block, name, features, cells, size, clip.seconds)) is None:
            seen.num_silent += 1
        else:
            seen.attention.append(found)
        affinity = largest_affinity(block, features, flat_indices(cells, seen.grid).to(x.device))
        seen.affinities += [] if affinity is None else [affinity]
        if clip.clued is not None and (share := cue_share(block, name, features, clip.clued, size)) is not None:
            seen.cue.append((clip.clued.kinds, share))

    def blocks_diagnosed(self) -> Iterator[BlockDiagnosis]:
        """Every block, in the network's order, once there are clips."""
        for name, block in self.blocks.items():
            seen = self._seen[name]
            yield BlockDiagnosis(
                name=name,
                kind=block.kind,
                depends_on_query=block.depends_on_query,
                grid=seen.grid,
                attention=mean_attention(seen.attention, seen.num_silent) if seen.attention else None,
                has_attention=block.weighs_positions,
                has_softmax=block.weights_sum_to_one,
                affinity=max(seen.affinities, default=None),
                gain=self.gains[name],
                contribution=sum(seen.contributions) / len(seen.contributions),
                effect=self._effect(f"{name} off"),
                alike=self._effect(f"{name} alike") if block.depends_on_query else None,
                cue=mean_by_kind(seen.cue),
            )

    def all_off(self) -> Effect:
        """The loss of the network without any block."""
        return self._effect("all off")

    def _effect(self, name: str) -> Effect:
        return effect(self.class_names, self._scores[name], self.scores)


def changes_of(blocks: Mapping[str, AttentionBlock]) -> Iterator[tuple[str, Change]]:
    """The changed networks to compare with: context managers by name, such as ``res4.3 off``."""
    for name, block in blocks.items():
        yield f"{name} off", partial(switched_off, [block])
        if block.depends_on_query:
            yield f"{name} alike", partial(made_alike, block)
    yield "all off", partial(switched_off, list(blocks.values()))


def random_cells(grid: Position, num_cells: int, seed: tuple[int, int]) -> Tensor:
    """Cells of a grid, each at most once: (t, y, x), (num_cells, 3) int64, or all of them if there are fewer.

    Args:
        grid: (T, H, W).
        num_cells: How many.
        seed: The same numbers and grid draw the same cells.
    """
    flat = torch.from_numpy(np.random.default_rng(seed).permutation(math.prod(grid))[:num_cells])
    return torch.stack(torch.unravel_index(flat, grid), dim=1)
