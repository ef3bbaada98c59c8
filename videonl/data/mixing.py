"""Mixing the clips of a batch with one another; built on torchvision's transforms (v2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from videonl.data.randomness import seeded
from videonl.data.transforms import require

# Below the one a share is 0 or 1 in float32, and then NaN; above the other it is a half.
SMALLEST, LARGEST = 0.001, 1000


@dataclass(frozen=True)
class Mixing:
    """Mix each clip of a batch with another, and their labels in the same way; with both methods, each batch draws one.

    Args:
        mixup_alpha: Blend clips with a share from Beta(alpha, alpha) (Zhang et al., 2018, arXiv 1710.09412); 0 is off.
        cutmix_alpha: Put a box of the other clip, with a share of the area from Beta(alpha, alpha), into all frames
            (Yun et al., 2019, arXiv 1905.04899); 0 is off.
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup_alpha", "cutmix_alpha"):
            alpha = getattr(self, name)
            is_meant = alpha == 0 or SMALLEST <= alpha <= LARGEST
            require(is_meant, f"{name} must be 0, or from {SMALLEST} to {LARGEST}, got {alpha}")

    def __call__(
        self, clip: torch.Tensor, label: torch.Tensor, num_classes: int, key: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix a batch, each clip with the one before it.

        Args:
            clip: uint8 ``(B, C, T, H, W)``.
            label: int64 ``(B,)``, or of several labels float32 ``(B, K)``.
            num_classes: Number of classes K.
            key: What the randomness is a function of.

        Returns:
            Clips, values 0 to 255, uint8 or float32; and labels ``(B, K)``: which share of a clip is of each class.
        """
        ways = [
            way(alpha=alpha, num_classes=num_classes)
            for way, alpha in ((v2.MixUp, self.mixup_alpha), (v2.CutMix, self.cutmix_alpha))
            if alpha
        ]
        if not ways:
            return clip, label
        with seeded(*key):
            way = ways[int(torch.randint(len(ways), ()))]
            clip = clip.float() if isinstance(way, v2.MixUp) else clip
            mixed, soft_label = way(tv_tensors.Video(clip), label)
        return mixed.as_subclass(torch.Tensor), soft_label.as_subclass(torch.Tensor)
