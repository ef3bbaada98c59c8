"""C2D, I3D and Slow: bottleneck ResNets that differ only in their temporal kernels.

Built with pytorchvideo's ``create_resnet``, so that ``state_dict`` keys are those of its hub checkpoints.
Sources: Wang et al. 2018, arXiv:1711.07971 (C2D, I3D); Feichtenhofer et al. 2019, arXiv:1812.03982 (Slow).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from videonl.backbones.contract import Backbone, Size
from videonl.backbones.head import as_head, set_head
from videonl.backbones.quiet_import import quiet_import
from videonl.backbones.rewrites import ResidualSum
from videonl.backbones.stem import as_stem

POINT: Size = (1, 1, 1)
TEMPORAL: Size = (3, 1, 1)


@dataclass(frozen=True)
class Variant:
    """What tells one ResNet family from another.

    Attributes:
        stem_temporal_kernel: Frames that the stem's convolution spans.
        conv_a: For res2 to res5 the kernels of the bottlenecks' first convolution, taken in turn by its residuals.
        pool_after_res2: Whether a 2x1x1 max pool halves the frames after res2.
    """

    stem_temporal_kernel: int
    conv_a: tuple[tuple[Size, ...], ...]
    pool_after_res2: bool


VARIANTS = {
    "c2d": Variant(1, ((POINT,), (POINT,), (POINT,), (POINT,)), pool_after_res2=True),
    "i3d": Variant(5, ((TEMPORAL,), (TEMPORAL, POINT), (TEMPORAL, POINT), (POINT, TEMPORAL)), pool_after_res2=True),
    "slow": Variant(1, ((POINT,), (POINT,), (TEMPORAL,), (TEMPORAL,)), pool_after_res2=False),
}


def resnet3d(
    variant: str,
    depth: int,
    num_classes: int,
    *,
    width: int = 64,
    dropout: float = 0.5,
    stride_profile: str | Mapping[str, int] = "short",
    head: str | Mapping[str, Any] = "mean",
) -> Backbone:
    """Builds a C2D, I3D or Slow ResNet.

    Args:
        variant: ``c2d``, ``i3d`` or ``slow``.
        depth: 50 or 101 layers.
        num_classes: Size of the head.
        width: Channels of the stem, 64 in the papers; every other width follows. 16 gives a network for a laptop.
        dropout: Probability before the head.
        stride_profile: Temporal strides before res2, which weights do not tell. ``short``: none, for clips of 8
            frames. ``long``: 2 in the stem and 2 in its pool, which spans two frames, for clips of 32 or 128.
            ``mmaction2``: the same strides with a pool of one frame, as mmaction2's I3D has. Or the fields of
            :class:`videonl.backbones.stem.Stem`, for a stem that none of them is.
        head: What the head does with clips larger than 224 pixels. ``mean`` averages all positions. ``windows``
            averages windows of 7 x 7 cells at stride 1, as pytorchvideo does; ``windows_softmax`` averages their
            probabilities, as PySlowFast and video-nonlocal-net test. Or the fields of
            :class:`videonl.backbones.head.Head`.

    Returns:
        The backbone with stages res2 to res5. Its head averages over positions, so it accepts clips of any size; C2D
        and I3D need two frames or more after the stem, for the pool after res2: two with ``short``, five with
        ``mmaction2``, seven with ``long``.

    Raises:
        UserError: For a stride profile or a head that there is not.
    """
    with quiet_import():
        from pytorchvideo.models.resnet import ResBlock, create_resnet

    spec, stem = VARIANTS[variant], as_stem(stride_profile)
    network = create_resnet(
        model_depth=depth,
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=width,
        stem_conv_kernel_size=(spec.stem_temporal_kernel, 7, 7),
        stem_conv_stride=(stem.temporal_stride, 2, 2),
        stem_pool_kernel_size=(stem.pool_temporal_kernel, 3, 3),
        stem_pool_stride=(stem.pool_temporal_stride, 2, 2),
        stage1_pool=nn.MaxPool3d if spec.pool_after_res2 else None,
        stage_conv_a_kernel_size=tuple(list(kernels) for kernels in spec.conv_a),
        head_pool=nn.AdaptiveAvgPool3d,
        activation=partial(nn.ReLU, inplace=True),  # of norms and sums, whose backward does not read what they return
    )
    for module in network.modules():
        if isinstance(module, ResBlock):
            module.branch_fusion = ResidualSum()
    # pytorchvideo pads by half a kernel in time too, which shifts pairs of frames.
    network.blocks[0].pool.padding = (0, stem.pool_padding_px, stem.pool_padding_px)
    set_head(network.blocks[-1], as_head(head))
    return Backbone(network, residuals_by_stage(network), clip=(8 if stem.temporal_stride == 1 else 32, 224, 224))


def residuals_by_stage(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Residuals by stage: pytorchvideo keeps stem, stages, an optional pool and the head in one list of ``blocks``."""
    stages: dict[str, tuple[str, ...]] = {}
    for path, module in network.named_modules():
        if path.endswith(".res_blocks") and isinstance(module, nn.ModuleList):
            stages[f"res{len(stages) + 2}"] = tuple(f"{path}.{index}" for index in range(len(module)))
    return stages


RESNETS: dict[str, Callable[..., Backbone]] = {
    f"{variant}_r{depth}": partial(resnet3d, variant, depth) for variant in VARIANTS for depth in (50, 101)
}
