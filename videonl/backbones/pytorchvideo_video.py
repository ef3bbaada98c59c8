"""X3D, CSN and R(2+1)D as pytorchvideo builds them, so that the weights of its hub fit.

Sources: Feichtenhofer 2020, arXiv:2004.04730 (X3D); Tran et al. 2019, arXiv:1904.02811 (CSN); Tran et al. 2018,
arXiv:1711.11248 (R(2+1)D).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from videonl.backbones.contract import Backbone
from videonl.backbones.head import MeanOfProbabilities, as_head, set_head
from videonl.backbones.quiet_import import quiet_import
from videonl.backbones.resnet3d import residuals_by_stage
from videonl.backbones.window_pool import WindowPool

# Frames and side of the clips that they were published for, and how much deeper than its smallest form one is.
X3D: dict[str, tuple[int, int, float]] = {
    "x3d_xs": (4, 160, 2.2),
    "x3d_s": (13, 160, 2.2),
    "x3d_m": (16, 224, 2.2),
    "x3d_l": (16, 312, 5.0),
}
# Norms and sums are written over; their backward does not read what they return.
RELU = partial(nn.ReLU, inplace=True)


def x3d(name: str, num_classes: int, *, dropout: float = 0.5, head: str | Mapping[str, Any] = "mean") -> Backbone:
    """Builds an X3D.

    Args:
        name: ``x3d_xs``, ``x3d_s``, ``x3d_m``, which are one network for clips of three sizes, or ``x3d_l``.
        num_classes: Size of the head.
        dropout: Probability before the head.
        head: What the head does with clips larger than the published, as in :func:`videonl.backbones.resnet3d`.

    Returns:
        The backbone with stages res2 to res5. It accepts clips of any size, where pytorchvideo's own head takes windows
        of the published one.

    Raises:
        UserError: For a head that there is not.
    """
    with quiet_import():
        from pytorchvideo.models.x3d import create_x3d

    num_frames, crop_px, depth_factor = X3D[name]
    network = create_x3d(
        input_clip_length=num_frames,
        input_crop_size=crop_px,
        model_num_class=num_classes,
        dropout_rate=dropout,
        depth_factor=depth_factor,
        inner_act=nn.SiLU,  # the same function, which exports
        head_activation=None,
    )
    wanted = as_head(head)
    pooled = network.blocks[-1]
    # Its head projects before it pools, so that set_head, which replaces the pool, is not for it.
    pooled.pool.pool = WindowPool((None, wanted.window, wanted.window))
    if wanted.averaged == "probabilities":
        pooled.output_pool = MeanOfProbabilities()
    return Backbone(network, residuals_by_stage(network), clip=(num_frames, crop_px, crop_px))


def csn(num_classes: int, *, width: int = 64, dropout: float = 0.0, head: str | Mapping[str, Any] = "mean") -> Backbone:
    """Builds the channel-separated network of 101 layers, whose 3x3x3 convolutions each see one channel.

    Args:
        num_classes: Size of the head.
        width: Channels of the stem, 64 in the paper; every other width follows.
        dropout: Probability before the head.
        head: What the head does with clips larger than 224 pixels, as in :func:`videonl.backbones.resnet3d`.

    Returns:
        The backbone with stages res2 to res5. It accepts clips of any size; published at 32 frames of 224 pixels.

    Raises:
        UserError: For a head that there is not.
    """
    with quiet_import():
        from pytorchvideo.models.csn import create_csn

    network = create_csn(
        model_depth=101,
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=width,
        stem_pool=nn.MaxPool3d,
        head_pool=nn.AdaptiveAvgPool3d,
        activation=RELU,
    )
    set_head(network.blocks[-1], as_head(head))
    return Backbone(network, residuals_by_stage(network), clip=(32, 224, 224))


def r2plus1d(
    num_classes: int, *, width: int = 64, dropout: float = 0.5, head: str | Mapping[str, Any] = "mean"
) -> Backbone:
    """Builds the R(2+1)D of 50 layers, whose 3x3x3 convolutions are one over space and one over time.

    Args:
        num_classes: Size of the head.
        width: Channels of the stem, 64 in pytorchvideo's; every other width follows.
        dropout: Probability before the head.
        head: What the head does with clips larger than 224 pixels, as in :func:`videonl.backbones.resnet3d`.

    Returns:
        The backbone with stages res2 to res5. It accepts clips of any size; published at 16 frames of 224 pixels.

    Raises:
        UserError: For a head that there is not.
    """
    with quiet_import():
        from pytorchvideo.models.r2plus1d import create_r2plus1d

    network = create_r2plus1d(
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=width,
        head_pool=nn.AdaptiveAvgPool3d,
        head_activation=None,
        activation=RELU,
    )
    set_head(network.blocks[-1], as_head(head))
    return Backbone(network, residuals_by_stage(network), clip=(16, 224, 224))


PYTORCHVIDEO: dict[str, Callable[..., Backbone]] = {
    **{name: partial(x3d, name) for name in X3D},
    "csn_r101": csn,
    "r2plus1d_r50": r2plus1d,
}
