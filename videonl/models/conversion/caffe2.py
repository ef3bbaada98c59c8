"""Caffe2 checkpoints of video-nonlocal-net, and those of PySlowFast's model zoo that have the same blobs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from videonl.backbones import Stem
from videonl.backbones.head import HEADS
from videonl.models.conversion.checkpoint_io import blobs
from videonl.models.conversion.foreign import AT_224, Foreign, Options, Place, Stated, sampling
from videonl.models.conversion.nonlocal_blocks import options_of, pairwise_of, split_blocks, with_biases
from videonl.models.conversion.resnet_names import ResNetNames, backbone_of

RESIDUAL = "res{stage}_{index}"
NONLOCAL = "nonlocal_conv{stage}_{index}"
NAMES = ResNetNames(
    stem=("conv1", "res_conv1_bn"),
    shortcut=(f"{RESIDUAL}_branch1", f"{RESIDUAL}_branch1_bn"),
    branch=(
        *(f"{RESIDUAL}_branch2a", f"{RESIDUAL}_branch2a_bn"),
        *(f"{RESIDUAL}_branch2b", f"{RESIDUAL}_branch2b_bn"),
        *(f"{RESIDUAL}_branch2c", f"{RESIDUAL}_branch2c_bn"),
    ),
    head="pred",
    block={**{f"{NONLOCAL}_{name}": name for name in ("theta", "phi", "g", "out")}, f"{NONLOCAL}_bn": "norm"},
    separator="_",
    # riv is the running variance, whatever its name.
    parameters={"w": "weight", "b": "bias", "s": "weight", "rm": "running_mean", "riv": "running_var"},
)
NORM_EPSILON = 1e-5  # 1.0000001e-5 there, the same to float32
GROUP_FRAMES = 4  # of the blocks in res3 where norms are affine, as its code has it
# Frames and stride of the published networks, by stride of the stem and whether norms are affine.
PUBLISHED = {(1, False): (8, 8), (2, False): (32, 2), (1, True): (32, 4), (2, True): (128, 1)}
HINTS = {
    "strides": "of stem and pool: 1,1 for MODEL_NAME resnet_video and PySlowFast, 2,2 for resnet_video_org",
    "pool_padding": "0 for video-nonlocal-net, 1 for files of PySlowFast's model zoo",
}
BLOCK_HINTS = {
    "pairwise": "embedded_gaussian for NONLOCAL.USE_SOFTMAX True, which it is by default, else dot_product",
    "scale": "NONLOCAL.USE_SCALE, true by default",
    "subsample": "NONLOCAL.USE_MAXPOOL, true by default",
}
LICENSE = "CC BY-NC 4.0 (video-nonlocal-net): not for commercial use"


def caffe2_nonlocal(content: Any, stated: Stated) -> Foreign:
    """A pickle of blobs by name."""
    stated.require(HINTS)
    assert stated.strides is not None and stated.pool_padding is not None
    renamed, left_over = NAMES.rename(blobs(content))
    affine = "stem.norm.running_var" not in renamed
    placed = _as_linear(with_biases(_with_statistics(renamed)))
    stride, pool_stride = stated.strides
    return Foreign(
        weights=placed,
        left_over=left_over,
        backbone=stated.backbone or backbone_of(placed),
        blocks={place: _block(block, place, affine, stated) for place, block in split_blocks(placed).items()},
        # Its pool spans as many frames as it strides.
        stem=Stem(stride, pool_stride, pool_stride, stated.pool_padding),
        head=HEADS["windows_softmax"],
        clip={
            "mean": (0.45,) * 3,
            "std": (0.225,) * 3,
            **AT_224,
            **sampling(stated, PUBLISHED.get((stride, affine))),
        },
        norm_epsilon=NORM_EPSILON,
        license=LICENSE,
    )


def _block(block: Mapping[str, Tensor], place: Place, affine: bool, stated: Stated) -> Options:
    stated.require(
        BLOCK_HINTS if stated.pairwise in (None, "embedded_gaussian") else {"subsample": BLOCK_HINTS["subsample"]}
    )
    pairwise = pairwise_of(block, stated, BLOCK_HINTS["pairwise"])
    options = options_of(block, pairwise, pool_order="pre" if stated.subsample else None, scale=bool(stated.scale))
    if affine and place[0] == "res3":
        options |= {"reach": "groups", "group_frames": GROUP_FRAMES}
    return options


def _with_statistics(placed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Norms that were frozen to an affine map, as norms whose statistics divide by 1."""
    filled = dict(placed)
    for key, weight in placed.items():
        module, _, parameter = key.rpartition(".")
        if "norm" in module.rpartition(".")[2] and parameter == "weight" and f"{module}.running_var" not in placed:
            filled[f"{module}.running_mean"] = torch.zeros_like(weight)
            filled[f"{module}.running_var"] = torch.full_like(weight, 1 - NORM_EPSILON)
    return filled


def _as_linear(placed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Its fully convolutional tests keep the classifier as a 1x1x1 convolution: (K, C, 1, 1, 1) -> (K, C)."""
    key = "head.proj.weight"
    pointwise = key in placed and placed[key].shape[2:].numel() == 1
    return {**placed, key: placed[key].flatten(1)} if pointwise else dict(placed)
