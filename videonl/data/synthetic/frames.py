"""The frames of the synthetic data set: a cue, a probe, and the moving background they lie on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHAPES = ("bar", "pole", "disc", "cross", "ring", "diamond")
NUM_SHOWN_FRAMES = 2


class Mark(NamedTuple):
    """A shape, by its index in ``SHAPES``, and where and when it shows.

    The bounding box excludes its right and bottom edge; the frames include the last.
    """

    shape: int
    x0_px: int
    y0_px: int
    x1_px: int
    y1_px: int
    first_frame: int
    last_frame: int


def draw_clip(
    cue: int, probe: int, num_frames: int, size_px: int, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Mark, Mark]:
    """Draw a cue at the left of the first frames and a probe at the right of the last.

    Args:
        cue: Index into ``SHAPES``.
        probe: Index into ``SHAPES``.
        num_frames: Number of frames, at least twice ``NUM_SHOWN_FRAMES``.
        size_px: Height and width of the frames.
        random: Where places, sizes, colors, background and noise come from.

    Returns:
        RGB frames ``(T, H, W, 3)``, and where the cue and the probe are.
    """
    frames = _background(num_frames, size_px, random)
    cue_mark = _draw_mark(frames, cue, (0, NUM_SHOWN_FRAMES - 1), size_px / 6, random)
    probe_mark = _draw_mark(frames, probe, (num_frames - NUM_SHOWN_FRAMES, num_frames - 1), size_px * 5 / 6, random)
    frames += random.standard_normal(frames.shape, dtype=np.float32) * 4
    return np.clip(frames, 0, 255).astype(np.uint8), cue_mark, probe_mark


def draw_pairs(
    pairs: Sequence[tuple[int, int]], num_frames: int, size_px: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw several cues at the left of the first frames, and as many probes at the right of the last.

    Args:
        pairs: Of each cue and its probe the indices into ``SHAPES``; they lie one above the other, in any order.
        num_frames: As for :func:`draw_clip`, and so are the others.
        size_px: Height and width of the frames.
        random: Where everything else comes from.

    Returns:
        RGB frames ``(T, H, W, 3)``.
    """
    frames = _background(num_frames, size_px, random)
    last = num_frames - NUM_SHOWN_FRAMES
    for side, shown, x in ((0, (0, NUM_SHOWN_FRAMES - 1), 1 / 6), (1, (last, num_frames - 1), 5 / 6)):
        for place, pair in zip(random.permutation(len(pairs)).tolist(), pairs, strict=True):
            y = (place + 0.5) / len(pairs)
            _draw_mark(frames, pair[side], shown, size_px * x, random, (y - 0.02, y + 0.02), 1 / len(pairs))
    frames += random.standard_normal(frames.shape, dtype=np.float32) * 4
    return np.clip(frames, 0, 255).astype(np.uint8)


def _background(num_frames: int, size_px: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A sum of colored plane waves that drift: ``(T, H, W, 3)``, around 90."""
    num_waves = 6
    cycles = random.uniform(-4, 4, (2, num_waves))
    drift = random.uniform(-0.1, 0.1, num_waves)
    color = random.uniform(2, 9, (num_waves, 3)) * np.exp(2j * np.pi * random.random((num_waves, 1)))

    def wave(cycles_per_step: NDArray[np.float64], num_steps: int) -> NDArray[np.complex64]:
        phase: NDArray[np.complex128] = np.exp(2j * np.pi * np.outer(cycles_per_step, np.arange(num_steps)))
        return phase.astype(np.complex64)

    vertical, horizontal = (wave(count / size_px, size_px) for count in cycles)
    # A plane wave is the product of one factor per axis, so that no sine is taken per pixel.
    in_time = np.einsum("kt,kc->ktc", wave(drift, num_frames), color.astype(np.complex64))
    in_plane = np.einsum("ky,kx->kyx", vertical, horizontal).reshape(num_waves, -1)
    waves = (in_plane.T @ in_time.reshape(num_waves, -1)).real  # (H * W, T * 3)
    frames: NDArray[np.float32] = waves.reshape(size_px, size_px, num_frames, 3).transpose(2, 0, 1, 3) + np.float32(90)
    return frames


def _draw_mark(
    frames: NDArray[np.float32],
    shape: int,
    shown: tuple[int, int],
    center_x_px: float,
    random: np.random.Generator,
    y: tuple[float, float] = (0.25, 0.75),
    room: float = 1.0,
) -> Mark:
    """Draw a shape at a height drawn from ``y``, so small that it fits into that share ``room`` of the frame's."""
    size_px = frames.shape[1]
    radius_px = size_px * min(random.uniform(0.135, 0.16), 0.45 * room)
    x_px = center_x_px + size_px * random.uniform(-0.025, 0.025)
    y_px = size_px * random.uniform(*y)
    color = random.uniform(190, 255, 3).astype(np.float32)
    y, x = np.mgrid[:size_px, :size_px] + 0.5  # the centers of the pixels
    coverage = np.clip(0.5 - _distance_px(SHAPES[shape], x - x_px, y - y_px, radius_px), 0, 1)[..., None]
    first_frame, last_frame = shown
    window = frames[first_frame : last_frame + 1]
    window += coverage.astype(np.float32) * (color - window)
    rows, columns = np.nonzero(coverage[..., 0])
    x0_px, y0_px, x1_px, y1_px = (int(edge) for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return Mark(shape, x0_px, y0_px, x1_px, y1_px, first_frame, last_frame)


def _distance_px(shape: str, x: NDArray[np.float64], y: NDArray[np.float64], radius_px: float) -> NDArray[np.float64]:
    """Signed distance to the outline, negative inside. Each shape is its own mirror image, so flips keep the label."""
    across, along = np.abs(x), np.abs(y)
    distance_px: NDArray[np.float64]
    match shape:
        case "disc":
            distance_px = np.hypot(x, y) - radius_px
        case "bar":
            distance_px = np.maximum(across - radius_px, along - 0.35 * radius_px)
        case "pole":
            distance_px = np.maximum(across - 0.35 * radius_px, along - radius_px)
        case "cross":
            upright = np.maximum(across - 0.3 * radius_px, along - radius_px)
            distance_px = np.minimum(upright, np.maximum(across - radius_px, along - 0.3 * radius_px))
        case "ring":
            distance_px = np.abs(np.hypot(x, y) - 0.75 * radius_px) - 0.25 * radius_px
        case "diamond":
            distance_px = (across + along - 1.1 * radius_px) / np.sqrt(2)
        case _:
            raise ValueError(f"unknown shape {shape!r}")
    return distance_px
