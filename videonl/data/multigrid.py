"""Multigrid training: many small clips a step at first, few large ones at the end, at one cost per step.

Source: Wu et al., 2020, "A Multigrid Method for Efficiently Training Video Models", arXiv 1912.00998.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch

from videonl.data.transforms import HOUR, MOST_STRIDE, ClipFormat, require
from videonl.errors import require_within

_ROOT = 0.7071  # of a half: half the pixels


class Grid(NamedTuple):
    """The sampling grid of the clips of a batch: how many frames and pixels stand for how much of the video.

    Attributes:
        num_frames: Number of frames in a clip.
        crop_px: Side of the square crop.
        keeps_span: Whether a clip covers as much time, and as much of the frame, as one of full size.
    """

    num_frames: int
    crop_px: int
    keeps_span: bool = False

    def drawn(self, form: ClipFormat) -> ClipFormat:
        """The format of one clip on this grid, its stride drawn from torch's global generator.

        Args:
            form: The format of full-size clips.

        Returns:
            A stride from that of full size, which covers less time, to that which covers as much.
        """
        if self.num_frames == form.num_frames:
            return form
        most = (form.num_frames - 1) / max(1, self.num_frames - 1)
        share = 1.0 if self.keeps_span else float(torch.rand((), dtype=torch.float64))
        if form.stride_seconds is not None:
            seconds = form.stride_seconds * (1 + share * (most - 1))
            return replace(form, num_frames=self.num_frames, stride_seconds=min(seconds, HOUR))
        longest = int(form.stride_frames * most)
        stride = min(form.stride_frames + int(share * (longest - form.stride_frames + 1)), longest, MOST_STRIDE)
        return replace(form, num_frames=self.num_frames, stride_frames=stride)

    def short_side_px(self, full_px: int, low: int, high: int) -> tuple[int, int]:
        """The range of the resized frame's short side from which a crop is cut.

        Args:
            full_px: Side of full-size crops.
            low: Shortest side for these.
            high: Longest side for these.

        Returns:
            By default from as much of the frame as a full-size crop shows down to as many of its pixels.
        """
        share = self.crop_px / full_px
        return round(low * share), round(high * share) if self.keeps_span else high


class BatchShape(NamedTuple):
    """The shape of a batch.

    Attributes:
        factor: How many times the clips of a full-size batch it has.
        num_parts: Number of sub-batches over which batch norms take their statistics.
        grid: The sampling grid of its clips.
    """

    factor: int
    num_parts: int
    grid: Grid


class Phase(NamedTuple):
    """A part of the training with one shape from the long cycle.

    Attributes:
        start: Fraction of all steps at which it begins.
        shapes: The shapes that its steps take in turn: those of the short cycle, then that of the long cycle.
    """

    start: float
    shapes: tuple[BatchShape, ...]

    @property
    def factor(self) -> int:
        """How many times the clips of a full-size batch the shape from the long cycle has."""
        return self.shapes[-1].factor

    def describe(self, num_clips: int) -> str:
        """Clips, frames and pixels of the batches in words.

        Args:
            num_clips: Number of clips in a full-size batch.

        >>> Multigrid(cycle_ends=(0.8,)).phases(ClipFormat())[2].describe(num_clips=8)
        '64 x 4 x 112, 32 x 4 x 158, 16 x 4 x 224'
        """
        sizes = (f"{factor * num_clips} x {grid.num_frames} x {grid.crop_px}" for factor, _, grid in self.shapes)
        return ", ".join(dict.fromkeys(sizes))


@dataclass(frozen=True)
class Multigrid:
    """Batches of more clips with fewer frames and pixels, on a schedule, and of full size at the end.

    A batch has as many times more clips as each has less values, so every step, and every epoch, costs about the same:
    ``trainer.max_epochs`` counts epochs of that cost, in each of which the videos come several times.

    Args:
        cycle_ends: Fractions of all steps at which long cycles end; the rest of the training is of full size. With
            schedule: step, end one with each rate but the last: at the milestones. By default there are none, and all
            is of full size.
        long_cycle: The shapes of a long cycle, each for as many steps: fraction of the frames, fraction of the side.
        short_cycle: Fractions of the full side that steps take in turn before that of the long cycle; [] for none.
        rate_power: The learning rate is multiplied by the long cycle's factor on the clips to this power: 1 is the
            linear rule, for sgd; 0.5 the square root, for adamw; 0 leaves it.
        keep_span: Whether every clip covers the time, and the part of the frame, that one of full size does. By default
            that is drawn, from there down to the stride, and the pixels, of full size.
    """

    cycle_ends: tuple[float, ...] = ()
    long_cycle: tuple[tuple[float, float], ...] = ((0.25, _ROOT), (0.5, _ROOT), (0.5, 1.0), (1.0, 1.0))
    short_cycle: tuple[float, ...] = (0.5, _ROOT)
    rate_power: float = 1.0
    keep_span: bool = False

    def __post_init__(self) -> None:
        ends = (0.0, *self.cycle_ends, 1.0)
        ascending = all(before < after for before, after in pairwise(ends))
        require(ascending, f"cycle_ends must ascend, above 0 and below 1, got {list(self.cycle_ends)}")
        are_pairs = len(self.long_cycle) > 0 and all(isinstance(pair, tuple) for pair in self.long_cycle)
        require(are_pairs, f"long_cycle must have pairs: fraction of the frames, of the side; got {self.long_cycle}")
        for name, fractions in (
            ("long_cycle", [fraction for pair in self.long_cycle for fraction in pair]),
            ("short_cycle", self.short_cycle),
        ):
            for fraction in fractions:
                require(0 < fraction <= 1, f"{name} must have fractions above 0 and at most 1, got {fraction}")
        require_within(0, 1, rate_power=self.rate_power)

    @property
    def is_on(self) -> bool:
        """Whether any batches are not of full size."""
        return len(self.cycle_ends) > 0

    def phases(self, clip: ClipFormat) -> list[Phase]:
        """All phases of a training, the last one of full size.

        Args:
            clip: The format of full-size clips.
        """
        ends = (0.0, *self.cycle_ends)
        cycle = [self._shapes(clip, *fractions) for fractions in self.long_cycle]
        starts = [
            (start + (end - start) * place / len(cycle), shapes)
            for start, end in pairwise(ends)
            for place, shapes in enumerate(cycle)
        ]
        full = BatchShape(1, 1, Grid(clip.num_frames, clip.crop_px, self.keep_span))
        return [Phase(*phase) for phase in (*starts, (ends[-1], (full,)))]

    def _shapes(self, clip: ClipFormat, of_frames: float, of_side: float) -> tuple[BatchShape, ...]:
        frames, full_px = max(1, round(clip.num_frames * of_frames)), clip.crop_px
        largest = max(1, round(full_px * of_side))
        sides = [*(min(max(1, round(full_px * fraction)), largest) for fraction in self.short_cycle), largest]
        factors = [max(1, round(clip.num_frames * full_px**2 / (frames * side**2))) for side in sides]
        # As in the paper, the statistics' batch grows with the short cycle, but not with the long one.
        return tuple(
            BatchShape(factor, factors[-1], Grid(frames, side, self.keep_span))
            for factor, side in zip(factors, sides, strict=True)
        )
