"""ResNets of every layout: names by an independent table, logits by pytorchvideo's networks and blocks."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from videonl.models.conversion import Stated, convert, convert_content

FIVE = {"res3": [1, 3], "res4": [1, 3, 5]}


def slowfast_name(place: str) -> str:
    """``res3.1.branch2.conv_a.weight`` as PySlowFast has it."""
    for pattern, theirs in (
        (r"stem\.conv\.(.+)", r"s1.pathway0_stem.conv.\1"),
        (r"stem\.norm\.(.+)", r"s1.pathway0_stem.bn.\1"),
        (r"head\.proj\.(.+)", r"head.projection.\1"),
        (r"res(\d)\.(\d+)\.branch1_conv\.(.+)", r"s\1.pathway0_res\2.branch1.\3"),
        (r"res(\d)\.(\d+)\.branch1_norm\.(.+)", r"s\1.pathway0_res\2.branch1_bn.\3"),
        (r"res(\d)\.(\d+)\.branch2\.conv_(\w)\.(.+)", r"s\1.pathway0_res\2.branch2.\3.\4"),
        (r"res(\d)\.(\d+)\.branch2\.norm_(\w)\.(.+)", r"s\1.pathway0_res\2.branch2.\3_bn.\4"),
        (r"res(\d)\.(\d+)\.block\.norm\.(.+)", r"s\1.pathway0_nonlocal\2.bn.\3"),
        (r"res(\d)\.(\d+)\.block\.(conv_\w+)\.(.+)", r"s\1.pathway0_nonlocal\2.\3.\4"),
    ):
        if re.fullmatch(pattern, place):
            return re.sub(pattern, theirs, place)
    raise AssertionError(place)


def caffe2_blob(place: str) -> str | None:
    """The same as a blob of video-nonlocal-net, which does not count batches."""
    if place.endswith("num_batches_tracked"):
        return None
    module, _, parameter = place.rpartition(".")
    suffix = {"running_mean": "rm", "running_var": "riv", "bias": "b", "weight": "w"}[parameter]
    if "norm" in module and suffix == "w":
        suffix = "s"
    if module in ("stem.conv", "stem.norm", "head.proj"):
        return f"{ {'stem.conv': 'conv1', 'stem.norm': 'res_conv1_bn', 'head.proj': 'pred'}[module] }_{suffix}"
    stage, index, rest = re.fullmatch(r"res(\d)\.(\d+)\.(.+)", module).groups()
    if rest.startswith("block."):
        projection = rest.removeprefix("block.").removeprefix("conv_").replace("norm", "bn")
        return f"nonlocal_conv{stage}_{index}_{projection}_{suffix}"
    rest = rest.replace("branch2.conv_", "branch2").replace("branch1_conv", "branch1")
    rest = re.sub(r"branch2\.norm_(\w)", r"branch2\1_bn", rest).replace("branch1_norm", "branch1_bn")
    return f"res{stage}_{index}_{rest}_{suffix}"


def facebooks_block(channels: int, instantiation: str, pooled: bool = True) -> nn.Module:
    """The block of PySlowFast, which pytorchvideo has as well."""
    from pytorchvideo.layers.nonlocal_net import create_nonlocal

    pool = (1, 2, 2) if pooled else (1, 1, 1)
    return create_nonlocal(dim_in=channels, dim_inner=channels // 2, pool_size=pool, instantiation=instantiation)


class Mmcvs(nn.Module):
    """mmcv's NonLocal3d, written down plainly: projections are pooled, the last convolution has no bias."""

    def __init__(self, channels: int, mode: str, scaled: bool, pooled: bool) -> None:
        super().__init__()
        inner = channels // 2
        self.mode, self.factor = mode, inner**-0.5 if scaled else 1.0
        self.g = nn.Conv3d(channels, inner, 1)
        if mode != "gaussian":
            self.theta, self.phi = nn.Conv3d(channels, inner, 1), nn.Conv3d(channels, inner, 1)
        if mode == "concatenation":
            self.concat_project = nn.Conv2d(2 * inner, 1, 1, bias=False)
        self.conv_out, self.bn = nn.Conv3d(inner, channels, 1, bias=False), nn.BatchNorm3d(channels)
        self.pool = nn.MaxPool3d((1, 2, 2)) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        g = self.pool(self.g(x)).flatten(2)
        theta = (x if self.mode == "gaussian" else self.theta(x)).flatten(2)
        phi = self.pool(x if self.mode == "gaussian" else self.phi(x)).flatten(2)
        if self.mode == "concatenation":
            pairs = torch.cat(
                [theta[..., None].expand(-1, -1, -1, phi.shape[2]), phi[:, :, None].expand(-1, -1, theta.shape[2], -1)],
                1,
            )
            weights = self.concat_project(pairs).relu().squeeze(1) / phi.shape[2]
        else:
            weights = theta.mT @ phi
            weights = weights / phi.shape[2] if self.mode == "dot_product" else (weights * self.factor).softmax(-1)
        return x + self.bn(self.conv_out((weights @ g.mT).mT.unflatten(2, x.shape[2:])))


def configuration(**changes: Any) -> str:
    """The configuration that PySlowFast saves, as far as it matters."""
    config = {
        "MODEL": {"ARCH": "i3d"},
        "RESNET": {"STRIDE_1X1": False, "NUM_GROUPS": 1, "TRANS_FUNC": "bottleneck_transform"},
        "NONLOCAL": {"INSTANTIATION": "softmax", "GROUP": [[1]] * 4, "POOL": [[[1, 2, 2], [1, 2, 2]]] * 4},
        "DATA": {"MEAN": [0.45] * 3, "STD": [0.225] * 3, "NUM_FRAMES": 32, "SAMPLING_RATE": 2, "TRAIN_CROP_SIZE": 224},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        config[section][key] = value
    return yaml.safe_dump(config)


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("variant", "depth", "name"),
    [("c2d", 50, "c2d_r50"), ("i3d", 50, "i3d_r50"), ("slow", 50, "slow_r50"), ("i3d", 101, "i3d_r101")],
)
def test_pytorchvideo(public_network, agree, tmp_path: Path, variant: str, depth: int, name: str) -> None:
    network = public_network(variant, depth=depth)
    path = save({"model_state": network.state_dict()}, tmp_path / "hub.pyth")
    weights = convert(path, "pytorchvideo")
    assert weights.network["backbone"] == name
    assert weights.network["num_classes"] == 7
    assert list(weights.state) == list(network.state_dict())
    pixels = {"mean": (0.45,) * 3, "std": (0.225,) * 3, "short_side_px": 256, "crop_px": 224}
    assert weights.clip == {**pixels, "num_frames": 8, "stride_frames": 8}
    agree(weights, network)


@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize("instantiation", ["softmax", "dot_product"])
def test_slowfast_with_its_blocks(
    public_network, by_place, agree, tmp_path: Path, instantiation: str, with_config: bool
) -> None:
    network = public_network("i3d", partial(facebooks_block, instantiation=instantiation), FIVE)
    state = {slowfast_name(place): value for place, value in by_place(network).items()}
    content: dict[str, Any] = {"epoch": 3, "model_state": state}
    pairwise = {"softmax": "embedded_gaussian", "dot_product": "dot_product"}[instantiation]
    stated = Stated(backbone="i3d_r50", pairwise=pairwise, subsample=True)
    if with_config:
        content["cfg"], stated = configuration(NONLOCAL__INSTANTIATION=instantiation), Stated()
    weights = convert(save(content, tmp_path / "checkpoint.pyth"), "slowfast", stated)
    (insertion,) = weights.network["blocks"]
    assert insertion["after"] == FIVE
    assert insertion["options"]["pool_order"] == "pre"
    assert insertion["options"].get("scale", False) == (instantiation == "softmax")
    assert len(weights.state) == len(state)
    assert (weights.clip["num_frames"], weights.clip["stride_frames"]) == ((32, 2) if with_config else (8, 8))
    assert (weights.clip["short_side_px"], weights.clip["crop_px"]) == (256, 224)
    assert weights.network["backbone_options"]["head"] == "windows_softmax"
    agree(weights, network)


@pytest.mark.parametrize(("mode", "scaled", "pooled"), [
    ("embedded_gaussian", True, True),
    ("embedded_gaussian", False, False),
    ("dot_product", False, True),
    ("gaussian", False, True),
    ("concatenation", False, True),
])  # fmt: skip
def test_mmaction2_with_its_blocks_and_strides(
    public_network, by_place, agree, mmaction2_names, tmp_path: Path, mode: str, scaled: bool, pooled: bool
) -> None:
    block = partial(Mmcvs, mode=mode, scaled=scaled, pooled=pooled)
    network = public_network(
        "i3d", block, {"res3": [1], "res4": [5]}, stem_conv_stride=(2, 2, 2), stem_pool_stride=(2, 2, 2)
    )
    state = {mmaction2_names(place, pooled): value for place, value in by_place(network).items()}
    path = save({"meta": {"epoch": 1}, "state_dict": state}, tmp_path / "epoch_1.pth")
    told = mode in ("gaussian", "concatenation")
    stated = Stated("i3d_r50", (2, 2), pairwise=None if told else mode, scale=scaled)
    weights = convert(path, "mmaction2", stated)
    stem = weights.network["backbone_options"]["stride_profile"]
    assert stem["temporal_stride"] == stem["pool_temporal_stride"] == 2
    assert weights.clip["mean"] == pytest.approx((0.485, 0.456, 0.406), abs=1e-3)
    assert (weights.clip["num_frames"], weights.clip["stride_frames"]) == (32, 2)
    assert "head" not in weights.network["backbone_options"]
    agree(weights, network, (2, 3, 17, 53, 47))


@pytest.mark.parametrize(
    ("stride", "padding"), [(1, 0), (1, 1), (2, 0)], ids=["resnet_video", "PySlowFast", "resnet_video_org"]
)
def test_caffe2_with_its_blocks_and_stem(
    public_network, by_place, agree, tmp_path: Path, stride: int, padding: int
) -> None:
    network = public_network(
        "c2d", partial(facebooks_block, instantiation="softmax"), FIVE, stem_conv_stride=(stride, 2, 2)
    )
    network.blocks[0].pool = nn.MaxPool3d((stride, 3, 3), (stride, 2, 2), (0, padding, padding))
    blobs = caffe2_blobs(by_place(network))
    blobs |= {"conv1_w_momentum": np.ones(3), "lr": np.float32(0.01), "model_iter": 400_000}
    blobs["pred_w"] = blobs["pred_w"][:, :, None, None, None]  # as its fully convolutional tests save it
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    stated = Stated(None, (stride, stride), padding, pairwise="embedded_gaussian", scale=True, subsample=True)
    weights = convert(path, "caffe2-nonlocal", stated)
    assert weights.network["backbone"] == "c2d_r50"
    assert "CC BY-NC" in weights.license
    assert (weights.clip["num_frames"], weights.clip["stride_frames"]) == ((8, 8) if stride == 1 else (32, 2))
    assert weights.network["backbone_options"]["head"] == "windows_softmax"
    agree(weights, network)


@pytest.mark.parametrize(
    ("sections", "head"),
    [
        ({"DATA": {"TRAIN_CROP_SIZE": 112, "TEST_CROP_SIZE": 128}}, {"window": 3, "averaged": "probabilities"}),
        ({"MULTIGRID": {"SHORT_CYCLE": True}}, None),
        ({}, "windows_softmax"),
    ],
)
def test_slowfast_windows_are_the_grid_of_its_training(
    public_network, by_place, sections: dict[str, Any], head: Any
) -> None:
    state = {slowfast_name(place): value for place, value in by_place(public_network("c2d")).items()}
    content = {"model_state": state, "cfg": yaml.safe_dump({"MODEL": {"ARCH": "c2d"}, **sections})}
    weights = convert_content(content, "slowfast", Stated(), "file")
    assert weights.network["backbone_options"].get("head") == head
    assert (weights.clip["num_frames"], weights.clip["stride_frames"]) == (8, 8)
    assert weights.clip["crop_px"] == sections.get("DATA", {}).get("TRAIN_CROP_SIZE", 224)


def caffe2_blobs(placed: dict[str, Tensor]) -> dict[str, Any]:
    named = {caffe2_blob(place): value.numpy() for place, value in placed.items()}
    named.pop(None)
    return named


class Affine(nn.Module):
    """What video-nonlocal-net makes of a norm when it trains long clips."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None, None] + self.bias[:, None, None, None]


class InGroups(nn.Module):
    """A block within every four frames."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.block(chunk) for chunk in x.split(4, dim=2)], dim=2)


def test_caffe2_with_affine_norms_and_groups_of_frames(
    public_network: Callable[..., nn.Module], by_place, agree, tmp_path: Path
) -> None:
    network = public_network("c2d", partial(facebooks_block, instantiation="softmax"), FIVE)
    for name, norm in list(network.named_modules()):
        if isinstance(norm, nn.BatchNorm3d):
            affine = Affine(norm.num_features).double()
            affine.load_state_dict({"weight": norm.weight, "bias": norm.bias})
            network.set_submodule(name, affine)
    blobs = {caffe2_blob(place): value.numpy() for place, value in by_place(network).items()}
    res3 = network.blocks[3].res_blocks
    for index in FIVE["res3"]:
        res3[index].block = InGroups(res3[index].block)
    path = tmp_path / "affine.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    stated = Stated(strides=(1, 1), pool_padding=1, pairwise="embedded_gaussian", scale=True, subsample=True)
    weights = convert(path, "caffe2-nonlocal", stated)
    by_stage = {stage: each["options"] for each in weights.network["blocks"] for stage in each["after"]}
    assert (weights.clip["num_frames"], weights.clip["stride_frames"]) == (32, 4)
    long = convert(path, "caffe2-nonlocal", replace(stated, strides=(2, 2))).clip
    assert (long["num_frames"], long["stride_frames"]) == (128, 1)
    assert by_stage["res3"]["group_frames"] == 4
    assert "reach" not in by_stage["res4"]
    agree(weights, network)
