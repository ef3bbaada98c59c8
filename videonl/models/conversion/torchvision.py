"""torchvision's video networks as they are, and its image ResNets, inflated."""

from typing import Any

from videonl.models.conversion.checkpoint_io import tensors
from videonl.models.conversion.foreign import AT_112, AT_224, Foreign, Stated, sampling
from videonl.models.conversion.resnet_names import ResNetNames

RESIDUAL = "layer{layer}.{index}"
IMAGE_NAMES = ResNetNames(
    stem=("conv1", "bn1"),
    shortcut=(f"{RESIDUAL}.downsample.0", f"{RESIDUAL}.downsample.1"),
    branch=(
        *(f"{RESIDUAL}.conv1", f"{RESIDUAL}.bn1"),
        *(f"{RESIDUAL}.conv2", f"{RESIDUAL}.bn2"),
        *(f"{RESIDUAL}.conv3", f"{RESIDUAL}.bn3"),
    ),
    head="fc",
)
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Its reference scripts bring every video to 15 frames a second first.
PUBLISHED_SECONDS = 1 / 15


def torchvision(content: Any, stated: Stated) -> Foreign:
    """A ``state_dict`` of ``r3d_18``, ``mc3_18``, ``r2plus1d_18``, ``s3d``, or of an image ResNet with bottlenecks."""
    weights = tensors(content, ("state_dict", "model"), "torchvision")
    if "conv1.weight" in weights and weights["conv1.weight"].ndim == 4:
        stated.require({"backbone": "which 3D ResNet to inflate these image weights to, such as i3d_r50"})
        assert stated.backbone is not None
        placed, left_over = IMAGE_NAMES.rename(weights)
        # What clips it will see is for the training to say, unless it was stated: images have no frames.
        clip = {"mean": IMAGE_MEAN, "std": IMAGE_STD, **AT_224, **sampling(stated)} if stated.num_frames else {}
        return Foreign(placed, left_over, stated.backbone, clip=clip, inflated=True)
    backbone = stated.backbone or _video_backbone(weights)
    s3d = backbone == "s3d"
    return Foreign(
        weights=weights,
        left_over=[],
        backbone=backbone,
        placed=False,
        clip={"mean": MEAN, "std": STD, **(AT_224 if s3d else AT_112), **_sampling(128 if s3d else 16, stated)},
        norm_epsilon=1e-3 if s3d else 1e-5,
        published_classes="kinetics400",
    )


def _sampling(num_frames: int, stated: Stated) -> dict[str, Any]:
    if stated.num_frames is not None:
        return sampling(stated)
    return {"num_frames": num_frames, "stride_frames": 2, "stride_seconds": PUBLISHED_SECONDS}


def _video_backbone(weights: dict[str, Any]) -> str:
    if "classifier.1.weight" in weights or "features.0.0.0.weight" in weights:
        return "s3d"
    if "layer1.0.conv1.0.0.weight" in weights:
        return "r2plus1d_18"
    later = weights.get("layer2.0.conv1.0.weight")
    return "mc3_18" if later is not None and later.ndim == 5 and later.shape[2] == 1 else "r3d_18"
