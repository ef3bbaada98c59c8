"""Augmentation of training clips; built on torchvision's transforms (v2)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from videonl.data.mixing import Mixing
from videonl.data.multigrid import Grid
from videonl.data.transforms import ClipFormat, require
from videonl.data.video import UNKNOWN, Label
from videonl.errors import MOST_PIXELS, require_within


@dataclass(frozen=True)
class Color:
    """Largest relative changes of color (``v2.ColorJitter``); 0.4 draws a factor from 0.6 to 1.4.

    Args:
        brightness: Of all values.
        contrast: Of the distance from the mean gray.
        saturation: Of the distance from gray.
        hue: Share of the color circle, at most 0.5.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            value = getattr(self, name)
            require(0 <= value <= most, f"{name} must be in [0, {most:g}], got {value}")


@dataclass(frozen=True)
class RandAugment:
    """Random shears, shifts, turns and changes of color (Cubuk et al., 2020, arXiv 1909.13719; ``v2.RandAugment``).

    Args:
        num_ops: Number of operations on each clip, drawn from 14; 0 leaves clips as they are.
        magnitude: Their strength, from 0 to 30.
    """

    num_ops: int = 0
    magnitude: int = 9

    def __post_init__(self) -> None:
        require_within(0, 100, num_ops=self.num_ops)
        require(0 <= self.magnitude <= 30, f"magnitude must be from 0 to 30, got {self.magnitude}")


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training clips. One choice is made per clip and applies to all of its frames.

    Args:
        short_side_px: Range from which the short side of the resized frame is drawn, from which the crop is cut: a
            crop of 224 at a short side of 320 shows 0.7 of the frame's short side.
        resized_crop_area: Range from which the fraction of the frame's area is drawn that is cropped and resized, with
            an aspect ratio from 3/4 to 4/3. If set, it replaces short_side_px.
        flip_probability: Probability of mirroring left to right.
        no_flip_classes: Names of classes whose clips are not mirrored, because left and right matter.
        color: Changes of color.
        rand_augment: Further random operations, after the colors.
        erasing_probability: Probability that a box of 2 to 33 percent of the area is painted with the mean color, in
            all frames (Zhong et al., 2017, arXiv 1708.04896).
        mixing: Mixing clips of a batch with one another.
    """

    short_side_px: tuple[int, int] = (256, 320)
    resized_crop_area: tuple[float, float] | None = None
    flip_probability: float = 0.5
    no_flip_classes: tuple[str, ...] = ()
    color: Color = Color()
    rand_augment: RandAugment = RandAugment()
    erasing_probability: float = 0.0
    mixing: Mixing = Mixing()

    def __post_init__(self) -> None:
        low, high = self.short_side_px
        in_order = 1 <= low <= high <= MOST_PIXELS
        require(in_order, f"short_side_px must be a range within [1, {MOST_PIXELS}], got {self.short_side_px}")
        if self.resized_crop_area is not None:
            low_area, high_area = self.resized_crop_area
            in_order = 0 < low_area <= high_area <= 1
            require(in_order, f"resized_crop_area must be a range within (0, 1], got {self.resized_crop_area}")
        for name in ("flip_probability", "erasing_probability"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1], got {getattr(self, name)}")

    def no_flip_labels(self, class_names: Sequence[str]) -> frozenset[int]:
        """The indices of the classes that are never mirrored.

        Raises:
            UserError: One of them is no class of the data.
        """
        unknown = sorted(set(self.no_flip_classes) - set(class_names))
        require(not unknown, f"no_flip_classes names no class of the data: {', '.join(unknown)}")
        return frozenset(map(class_names.index, self.no_flip_classes))


class TrainTransform:
    """Crop and augment a training clip at random, with torch's global generator.

    Args:
        clip_format: What the network expects.
        augmentation: How clips are varied.
        no_flip_labels: Labels whose clips are never mirrored.

    Raises:
        UserError: The short side may be drawn smaller than the crop.
    """

    def __init__(
        self, clip_format: ClipFormat, augmentation: Augmentation, no_flip_labels: Collection[int] = ()
    ) -> None:
        self.grid = Grid(clip_format.num_frames, clip_format.crop_px)
        self.augmentation = augmentation
        self.no_flip_labels = frozenset(no_flip_labels)
        shortest_px = augmentation.short_side_px[0]
        fits = augmentation.resized_crop_area is not None or self.grid.crop_px <= shortest_px
        message = f"crop_px must not exceed the augmentation's short_side_px {shortest_px}, got {self.grid.crop_px}"
        require(fits, message)
        self._later = _later_transforms(augmentation, clip_format.mean)

    def __call__(self, frames: torch.Tensor, label: Label = UNKNOWN, grid: Grid | None = None) -> torch.Tensor:
        """Transform one clip of ``label``, uint8 ``(T, C, H, W)``, to uint8 ``(C, T, crop, crop)``.

        Args:
            frames: The clip.
            label: Its label, or several.
            grid: Of a multigrid training: the size of the crop, and how much of the frame it shows.
        """
        frames = self._crop(frames, grid or self.grid)
        flip = float(torch.rand(())) < self.augmentation.flip_probability
        labels = label if isinstance(label, tuple) else (label,)
        if flip and self.no_flip_labels.isdisjoint(labels):
            frames = vision.horizontal_flip(frames)
        for transform in self._later:
            frames = transform(frames)
        # No copy where the channels still are innermost.
        frames = frames.contiguous(memory_format=torch.channels_last)
        return frames.transpose(0, 1)  # (T, C, H, W) -> (C, T, H, W)

    def _crop(self, frames: torch.Tensor, grid: Grid) -> torch.Tensor:
        area = self.augmentation.resized_crop_area
        if area is not None:
            resized: torch.Tensor = v2.RandomResizedCrop(grid.crop_px, scale=area, antialias=True)(frames)
            return resized
        top, left, side_px = self._jittered_box(frames.shape[-2], frames.shape[-1], grid)
        size_px = [grid.crop_px, grid.crop_px]
        cropped: torch.Tensor = vision.resized_crop(frames, top, left, side_px, side_px, size_px, antialias=True)
        return cropped

    def _jittered_box(self, height_px: int, width_px: int, grid: Grid) -> tuple[int, int, int]:
        """The part of the frame that a crop of the resized frame shows, in pixels: only this part is resized."""
        low, high = grid.short_side_px(self.grid.crop_px, *self.augmentation.short_side_px)
        short_side_px = int(torch.randint(low, high + 1, ()))
        side_px = max(1, round(grid.crop_px * min(height_px, width_px) / short_side_px))
        top = int(torch.randint(height_px - side_px + 1, ()))
        left = int(torch.randint(width_px - side_px + 1, ()))
        return top, left, side_px


def _later_transforms(augmentation: Augmentation, mean: Sequence[float]) -> list[v2.Transform]:
    """The transforms after cropping and mirroring; those that are off are left out."""
    color, rand_augment = augmentation.color, augmentation.rand_augment
    mean_color = [round(255 * value) for value in mean]
    transforms: list[v2.Transform] = []
    if color != Color():
        transforms.append(v2.ColorJitter(color.brightness, color.contrast, color.saturation, color.hue))
    if rand_augment.num_ops:
        transforms.append(v2.RandAugment(rand_augment.num_ops, rand_augment.magnitude, fill=mean_color))
    if augmentation.erasing_probability:
        transforms.append(v2.RandomErasing(augmentation.erasing_probability, value=mean_color))
    return transforms
