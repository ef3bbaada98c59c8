"""pytorchvideo's networks, whose names and forward pass are ours: C2D, I3D and Slow, and the others of its hub."""

from typing import Any

from videonl.backbones import Stem
from videonl.backbones.head import HEADS
from videonl.models.conversion.checkpoint_io import tensors
from videonl.models.conversion.foreign import AT_224, Foreign, Stated, sampling
from videonl.models.conversion.pytorchvideo_hub import hub_network
from videonl.models.conversion.resnet_names import ResNetNames, backbone_of

PUBLISHED = (8, 8)  # frames and stride of c2d_r50, i3d_r50 and slow_r50 in its hub
RESIDUAL = "blocks.{position}.res_blocks.{index}"


def pytorchvideo(content: Any, stated: Stated) -> Foreign:
    """A file of its hub, or the ``state_dict`` of a network that ``create_resnet`` built."""
    weights = tensors(content, ("model_state", "state_dict"), "pytorchvideo")
    if (of_hub := hub_network(weights, stated)) is not None:
        return of_hub
    # The pool after res2 is a block of its own there, and counts.
    has_pool = not any(key.startswith("blocks.2.res_blocks.") for key in weights)
    placed, left_over = _names(has_pool).rename(weights)
    return Foreign(
        weights=placed,
        left_over=left_over,
        backbone=stated.backbone or backbone_of(placed),
        stem=Stem(*stated.strides) if stated.strides else Stem(),
        head=HEADS["windows"],
        clip={"mean": (0.45,) * 3, "std": (0.225,) * 3, **AT_224, **sampling(stated, PUBLISHED)},
        published_classes="kinetics400",
    )


def _names(has_pool: bool) -> ResNetNames:
    return ResNetNames(
        stem=("blocks.0.conv", "blocks.0.norm"),
        shortcut=(f"{RESIDUAL}.branch1_conv", f"{RESIDUAL}.branch1_norm"),
        branch=(
            *(f"{RESIDUAL}.branch2.conv_a", f"{RESIDUAL}.branch2.norm_a"),
            *(f"{RESIDUAL}.branch2.conv_b", f"{RESIDUAL}.branch2.norm_b"),
            *(f"{RESIDUAL}.branch2.conv_c", f"{RESIDUAL}.branch2.norm_c"),
        ),
        head="blocks.6.proj" if has_pool else "blocks.5.proj",
        positions={2: 1, 3: 3, 4: 4, 5: 5} if has_pool else {2: 1, 3: 2, 4: 3, 5: 4},
    )
