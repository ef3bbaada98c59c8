"""The Inception I3D of Carreira and Zisserman (arXiv:1705.07750) as ported by piergiaj/pytorch-i3d."""

from typing import Any

from videonl.models.conversion.checkpoint_io import tensors
from videonl.models.conversion.foreign import AT_224, Foreign, Stated, sampling

PUBLISHED = (64, 1)  # frames and stride of its training, at 25 frames a second

FLOW = "optical flow (2 channels, horizontal and vertical: TV-L1 in pixels, cut at 20 and divided by 20)"


def i3d_inception(content: Any, stated: Stated) -> Foreign:
    """Its ``rgb_*.pt`` and ``flow_*.pt``; our network has the same names, and what it reads goes from -1 to 1."""
    weights = tensors(content, ("state_dict",), "piergiaj/pytorch-i3d")
    stem = weights.get("Conv3d_1a_7x7.conv3d.weight")
    flow = stem is not None and stem.shape[1:2] == (2,)
    return Foreign(
        weights=weights,
        left_over=[],
        backbone=stated.backbone or "i3d_inception",
        placed=False,
        options={"in_channels": 2} if flow else {},
        clip={"mean": (0.5,) * 3, "std": (0.5,) * 3, **AT_224, **sampling(stated, PUBLISHED)},
        norm_epsilon=1e-3,
        reads=FLOW if flow else None,
        published_classes="kinetics400",
    )
