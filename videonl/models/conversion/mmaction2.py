"""mmaction2's ``ResNet3d``, ``ResNet3dSlowOnly`` and ``C2D`` with mmcv's ``NonLocal3d``, and its ``ResNet2Plus1d``."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from videonl.backbones import Stem
from videonl.errors import UserError
from videonl.models.conversion.checkpoint_io import tensors
from videonl.models.conversion.foreign import AT_224, Foreign, Options, Stated, sampling
from videonl.models.conversion.mmaction2_r2plus1d import PUBLISHED as R2PLUS1D_SAMPLING
from videonl.models.conversion.mmaction2_r2plus1d import STEM as R2PLUS1D_STEM
from videonl.models.conversion.mmaction2_r2plus1d import r2plus1d
from videonl.models.conversion.nonlocal_blocks import options_of, pairwise_of, split_blocks, with_biases
from videonl.models.conversion.resnet_names import ResNetNames

RESIDUAL = "backbone.layer{layer}.{index}"
NONLOCAL = f"{RESIDUAL}.non_local_block"
NAMES = ResNetNames(
    stem=("backbone.conv1.conv", "backbone.conv1.bn"),
    shortcut=(f"{RESIDUAL}.downsample.conv", f"{RESIDUAL}.downsample.bn"),
    branch=(
        *(f"{RESIDUAL}.conv1.conv", f"{RESIDUAL}.conv1.bn"),
        *(f"{RESIDUAL}.conv2.conv", f"{RESIDUAL}.conv2.bn"),
        *(f"{RESIDUAL}.conv3.conv", f"{RESIDUAL}.conv3.bn"),
    ),
    head="cls_head.fc_cls",
    block={
        f"{NONLOCAL}.theta.conv": "theta",
        f"{NONLOCAL}.phi.conv": "phi",
        f"{NONLOCAL}.phi.0.conv": "phi",  # number 0 of a sequence where a pool follows
        f"{NONLOCAL}.g.conv": "g",
        f"{NONLOCAL}.g.0.conv": "g",
        f"{NONLOCAL}.concat_project.conv": "concat",
        f"{NONLOCAL}.conv_out.conv": "out",
        f"{NONLOCAL}.conv_out.bn": "norm",
    },
)
# Its recipes' mean and std of pixels from 0 to 255.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# Frames and stride of its model zoo, whose SlowOnly of 4x16 has a name that says so.
PUBLISHED = {"i3d": (32, 2), "slow": (8, 8), "c2d": (8, 8)}
HINTS = {
    "backbone": "i3d_* for ResNet3d with with_pool2=True, slow_* for ResNet3dSlowOnly, both with style='pytorch'",
    "strides": "conv1_stride_t,pool1_stride_t of its configuration: 2,2 for its I3D, 1,1 for SlowOnly",
}
C2D_HINT = (
    "c2d_r50 or c2d_r101 for C2D with its pool in time; TSN and the nopool configurations, whose weights look the "
    "same, are not supported"
)
BLOCK_HINTS = {"pairwise": "mode of non_local_cfg", "scale": "use_scale of non_local_cfg, true where it is not set"}


def mmaction2(content: Any, stated: Stated) -> Foreign:
    """A checkpoint of its training or model zoo. Strides are in its configuration alone, so they have to be stated."""
    weights = tensors(content, ("state_dict",), "mmaction2")
    if R2PLUS1D_STEM in weights:
        return replace(r2plus1d(weights, stated.backbone), clip=_clip(stated, R2PLUS1D_SAMPLING))
    stem = weights.get("backbone.conv1.conv.weight")
    if stem is not None and stem.ndim == 4:
        return _c2d(weights, stated)
    stated.require(HINTS)
    assert stated.backbone is not None and stated.strides is not None
    return _resnet(weights, stated.backbone, Stem(*stated.strides), stated)


def _c2d(weights: Mapping[str, Tensor], stated: Stated) -> Foreign:
    """C2D, which runs 2D convolutions over all frames: (O, I, H, W) -> (O, I, 1, H, W)."""
    stated.require({"backbone": C2D_HINT})
    assert stated.backbone is not None
    if not stated.backbone.startswith("c2d_"):
        raise UserError(f"--backbone {stated.backbone}: its convolutions are 2D; of such networks videonl reads C2D")
    if stated.strides not in (None, (1, 1)):
        raise UserError("--strides: mmaction2's C2D has none in time before its pool, 1,1")
    in_3d = {key: weight.unsqueeze(2) if weight.ndim == 4 else weight for key, weight in weights.items()}
    return _resnet(in_3d, stated.backbone, Stem(pool_padding_px=0), stated)


def _resnet(weights: Mapping[str, Tensor], backbone: str, stem: Stem, stated: Stated) -> Foreign:
    renamed, left_over = NAMES.rename(weights)
    placed = with_biases(_with_vectors(renamed))
    pooled = any(".non_local_block.g.0." in key for key in weights)
    return Foreign(
        weights=placed,
        left_over=left_over,
        backbone=backbone,
        blocks={place: _block(block, pooled, stated) for place, block in split_blocks(placed).items()},
        stem=stem,
        clip=_clip(stated, PUBLISHED.get(backbone.partition("_")[0])),
    )


def _clip(stated: Stated, published: tuple[int, int] | None) -> dict[str, Any]:
    mean, std = (tuple(value / 255 for value in values) for values in (MEAN, STD))
    return {"mean": mean, "std": std, **AT_224, **sampling(stated, published)}


def _block(block: Mapping[str, Tensor], pooled: bool, stated: Stated) -> Options:
    pairwise = pairwise_of(block, stated, BLOCK_HINTS["pairwise"])
    if pairwise == "embedded_gaussian":
        stated.require(BLOCK_HINTS)
    return options_of(block, pairwise, pool_order="post" if pooled else None, scale=bool(stated.scale))


def _with_vectors(placed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The concatenation's convolution as the vector that ours is: (1, 2 * Ci, 1, 1) -> (2 * Ci,)."""
    vectors = {key: weight.flatten() for key, weight in placed.items() if key.endswith(".block.concat.weight")}
    return {key.removesuffix(".weight") if key in vectors else key: vectors.get(key, placed[key]) for key in placed}
