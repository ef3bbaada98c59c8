"""The Inception I3D of Carreira and Zisserman (arXiv:1705.07750) as ported by piergiaj/pytorch-i3d."""

from typing import Any

from videonl.models.conversion.contract import AT_224, Foreign, Stated, sampling
from videonl.models.conversion.reading import tensors

PUBLISHED = (64, 1)  # frames and stride of its training, at 25 frames a second


def i3d_inception(content: Any, stated: Stated) -> Foreign:
    """Its ``rgb_*.pt``; our network has the same names, and pixels go from -1 to 1."""
    return Foreign(
        weights=tensors(content, ("state_dict",), "piergiaj/pytorch-i3d"),
        left_over=[],
        backbone=stated.backbone or "i3d_inception",
        placed=False,
        clip={"mean": (0.5,) * 3, "std": (0.5,) * 3, **AT_224, **sampling(stated, PUBLISHED)},
        norm_epsilon=1e-3,
    )
