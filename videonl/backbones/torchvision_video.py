"""R3D, MC3, R(2+1)D and S3D as torchvision builds them, so that its weights fit.

Sources: Tran et al. 2018, arXiv:1711.11248 (r3d_18, mc3_18, r2plus1d_18); Xie et al. 2018, arXiv:1712.04851 (s3d).
"""

from torch import nn

from videonl.backbones.contract import Backbone
from videonl.backbones.window_pool import WindowPool

RESNETS_18 = ("r3d_18", "mc3_18", "r2plus1d_18")
S3D_STAGES = {"mixed_3": (5, 6), "mixed_4": (8, 9, 10, 11, 12), "mixed_5": (14, 15)}


def resnet18(name: str, num_classes: int) -> Backbone:
    """Builds one of torchvision's 18-layer video ResNets.

    Args:
        name: ``r3d_18``, ``mc3_18`` or ``r2plus1d_18``.
        num_classes: Size of the head.

    Returns:
        The backbone with stages res2 to res5, torchvision's ``layer1`` to ``layer4``. It accepts clips of any size;
        published at 16 frames of 112 pixels.
    """
    # Imported here, as in s3d, because torchvision takes a second to import, and naming a backbone should not.
    from torchvision.models import video

    network = getattr(video, name)(weights=None, num_classes=num_classes)
    layers = {f"res{level + 1}": f"layer{level}" for level in range(1, 5)}
    return Backbone(network, {stage: _children(network, layer) for stage, layer in layers.items()}, clip=(16, 112, 112))


def s3d(num_classes: int, *, dropout: float = 0.2) -> Backbone:
    """Builds torchvision's S3D.

    Args:
        num_classes: Size of the head.
        dropout: Probability before the head.

    Returns:
        The backbone with stages ``mixed_3``, ``mixed_4`` and ``mixed_5``, the Inception modules between two pools. It
        accepts clips from 5 frames of 17 pixels on, where torchvision's own head takes windows of 2 x 7 x 7 features.
        Published at 128 frames of 224 pixels.
    """
    from torchvision.models import video

    network = video.s3d(weights=None, num_classes=num_classes, dropout=dropout)
    network.avgpool = WindowPool((2, 7, 7))
    stages = {stage: tuple(f"features.{index}" for index in indices) for stage, indices in S3D_STAGES.items()}
    return Backbone(network, stages, clip=(128, 224, 224))


def _children(network: nn.Module, path: str) -> tuple[str, ...]:
    return tuple(f"{path}.{name}" for name, _ in network.get_submodule(path).named_children())
