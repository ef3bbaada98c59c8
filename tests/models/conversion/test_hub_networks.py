"""SlowFast, X3D, CSN and R(2+1)D: converted hub files against pytorchvideo's own networks, in float64."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytorchvideo.models import hub
from torch import Tensor, nn

from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.models.conversion import Stated, convert
from videonl.models.transfer import load_into
from videonl.models.weights import Weights

# Arguments that make a network narrow, and a clip as long as its head needs, and at least as large.
NARROW, NARROW_TWO = {"stem_dim_out": 8}, {"stem_dim_outs": (8, 1)}
HUB: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "slowfast_r50": (NARROW_TWO, (32, 256, 224)),
    "slowfast_r101": (NARROW_TWO, (32, 224, 224)),
    "slowfast_16x8_r101_50_50": (NARROW_TWO, (64, 224, 224)),
    "x3d_xs": ({}, (4, 160, 192)),
    "x3d_s": ({}, (13, 160, 160)),
    "x3d_m": ({}, (16, 224, 224)),
    "x3d_l": ({}, (16, 312, 312)),
    "csn_r101": (NARROW, (32, 224, 256)),
    "r2plus1d_r50": (NARROW, (16, 224, 256)),
}
# Of the same kind as others, and deep, or for larger clips.
SLOW = ("slowfast_r101", "x3d_m", "x3d_l")
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in HUB]
CLIPS = {
    "slowfast_r50": (32, 2, 256, 224),
    "slowfast_r101": (32, 2, 256, 224),
    "slowfast_16x8_r101_50_50": (64, 2, 256, 224),
    "x3d_xs": (4, 12, 182, 160),
    "x3d_s": (13, 6, 182, 160),
    "x3d_m": (16, 5, 256, 224),
    "x3d_l": (16, 5, 356, 312),
    "csn_r101": (32, 2, 256, 224),
    "r2plus1d_r50": (16, 4, 256, 224),
}


def frames_of_slowfast(clip: Tensor) -> list[Tensor]:
    """What pytorchvideo's tutorial gives a SlowFast network."""
    indices = torch.linspace(0, clip.shape[2] - 1, clip.shape[2] // 4).long()
    return [torch.index_select(clip, 2, indices), clip]


def scores(name: str, network: nn.Module, clip: Tensor) -> Tensor:
    """What the hub's network says: logits, or log probabilities where it ends in a softmax."""
    with torch.no_grad():
        said = network(frames_of_slowfast(clip) if "slowfast" in name else clip)
    return said.log() if ends_in_softmax(name) else said


def ends_in_softmax(name: str) -> bool:
    return name.startswith(("x3d", "r2plus1d"))


def require_agreement(name: str, weights: Weights, network: nn.Module, size: tuple[int, int, int]) -> None:
    clip = torch.randn(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    expected, classifier = scores(name, network, clip), weights.build().double()
    with torch.no_grad():
        found = classifier(clip).log_softmax(1) if ends_in_softmax(name) else classifier(clip)
    assert expected.std() > 1e-6
    assert (found - expected).abs().max() / expected.abs().max() < 1e-10


def for_small_clips(network: nn.Module) -> nn.Module:
    """The same network, whose head is for clips of 64 pixels: a last grid of 2 x 2."""
    for module in network.modules():
        if isinstance(module, nn.AvgPool3d):
            module.kernel_size = (module.kernel_size[0], 2, 2)
    return network


def public(name: str, randomize: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = getattr(hub, name)(model_num_class=7, **HUB[name][0])
    randomize(network)
    with torch.no_grad():
        network.blocks[-1].proj.weight.mul_(0.01)  # so that probabilities are not 0 and 1
    return network.double()


def stated(name: str) -> Stated:
    """Three X3D have weights of the same shapes."""
    return Stated(backbone=name) if name in ("x3d_xs", "x3d_s", "x3d_m") else Stated()


@pytest.mark.parametrize("name", NAMES)
def test_every_network_of_the_hub_agrees_with_pytorchvideos(randomized, tmp_path: Path, name: str) -> None:
    network = public(name, randomized)
    torch.save({"model_state": network.state_dict()}, tmp_path / "hub.pyth")
    weights = convert(tmp_path / "hub.pyth", "pytorchvideo", stated(name))
    assert weights.network["backbone"] == name
    assert weights.network["num_classes"] == 7
    assert list(weights.state) == list(network.state_dict())
    clip = [weights.clip[key] for key in ("num_frames", "stride_frames", "short_side_px", "crop_px")]
    assert clip == list(CLIPS[name])
    require_agreement(name, weights, for_small_clips(network), (HUB[name][1][0], 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", HUB)
def test_their_heads_average_as_pytorchvideos_on_clips_of_published_size_and_larger(
    randomized, tmp_path: Path, name: str
) -> None:
    network = public(name, randomized)
    torch.save({"model_state": network.state_dict()}, tmp_path / "hub.pyth")
    require_agreement(name, convert(tmp_path / "hub.pyth", "pytorchvideo", stated(name)), network, HUB[name][1])


def test_slowfast_with_a_block_on_its_slow_pathway_starts_as_it_was(randomized, tmp_path: Path) -> None:
    network = for_small_clips(public("slowfast_r50", randomized))
    torch.save(network.state_dict(), tmp_path / "hub.pyth")
    weights = convert(tmp_path / "hub.pyth", "pytorchvideo")
    blocks = [Insertion("nonlocal", {"res3": [1], "res4": [1, 5]})]
    classifier = ClipClassifier("slowfast_r50", 7, blocks, width=8).double().eval()
    said = load_into(classifier, weights)
    assert any("are newly initialized as the identity: res3.1, res4.1, res4.5" in sentence for sentence in said)
    x = torch.randn(1, 3, 32, 64, 64, dtype=torch.float64)
    read: dict[str, tuple[int, ...]] = {}
    for name, block in classifier.blocks.items():
        block.register_forward_hook(lambda *ran, name=name: read.update({name: tuple(ran[1][0].shape)}))
    with torch.no_grad():
        expected = network(frames_of_slowfast(x))
        assert (classifier(x) - expected).abs().max() / expected.abs().max() < 1e-10
    # The slow pathway alone: an eighth of 64 channels, and a fourth of the frames.
    assert read == {"res3.1": (1, 64, 8, 8, 8), "res4.1": (1, 128, 8, 4, 4), "res4.5": (1, 128, 8, 4, 4)}


def test_a_published_name_of_slowfast_counts_the_frames_of_its_slow_pathway(randomized, tmp_path: Path) -> None:
    state = public("slowfast_r50", randomized).state_dict()
    torch.save(state, tmp_path / "SLOWFAST_8x8_R50.pyth")
    assert convert(tmp_path / "SLOWFAST_8x8_R50.pyth", "pytorchvideo").clip["num_frames"] == 32
    torch.save(state, tmp_path / "SLOWFAST_4x16_R50.pyth")
    with pytest.raises(UserError, match=r"its name says 4x16, .* state the clip"):
        convert(tmp_path / "SLOWFAST_4x16_R50.pyth", "pytorchvideo")


def test_what_the_weights_do_not_tell_is_asked_and_what_they_tell_is_not_passed_over(
    randomized, tmp_path: Path
) -> None:
    path = tmp_path / "x3d.pyth"
    torch.save(public("x3d_s", randomized).state_dict(), path)
    with pytest.raises(
        UserError, match=r"state --backbone \(x3d_xs or x3d_s or x3d_m, whose weights have the same shapes"
    ):
        convert(path, "pytorchvideo")
    with pytest.raises(UserError, match=r"--backbone x3d_l: the file holds an X3D, x3d_xs or x3d_s or x3d_m"):
        convert(path, "pytorchvideo", Stated(backbone="x3d_l"))
    with pytest.raises(UserError, match=r"--strides is for the stem of a ResNet; x3d_s keeps its own"):
        convert(path, "pytorchvideo", Stated(backbone="x3d_s", strides=(2, 2)))


def test_networks_of_other_depths_are_named(tmp_path: Path) -> None:
    from pytorchvideo.models.csn import create_csn

    torch.save(create_csn(model_depth=50, stem_dim_out=8).state_dict(), tmp_path / "csn.pyth")
    with pytest.raises(UserError, match=r"network \(CSN\) of a depth that videonl does not have; .*: csn_r101"):
        convert(tmp_path / "csn.pyth", "pytorchvideo")


def pyslowfast_name(key: str) -> str:
    """A key of pytorchvideo's SlowFast as PySlowFast has it; blocks follow their residuals within ``Followed``."""
    key = key.replace("blocks.6.proj.", "head.projection.").replace(".residual.", ".")
    key = re.sub(r"^blocks\.(\d)\.", lambda found: f"s{int(found[1]) + 1}.", key)
    for pattern, theirs in (
        (r"s1\.multipathway_blocks\.(\d)\.conv\.", r"s1.pathway\1_stem.conv."),
        (r"s1\.multipathway_blocks\.(\d)\.norm\.", r"s1.pathway\1_stem.bn."),
        (r"(s\d)\.multipathway_fusion\.conv_fast_to_slow\.", r"\1_fuse.conv_f2s."),
        (r"(s\d)\.multipathway_fusion\.norm\.", r"\1_fuse.bn."),
        (r"multipathway_blocks\.(\d)\.res_blocks\.(\d+)\.block\.norm\.", r"pathway\1_nonlocal\2.bn."),
        (r"multipathway_blocks\.(\d)\.res_blocks\.(\d+)\.block\.", r"pathway\1_nonlocal\2."),
        (r"multipathway_blocks\.(\d)\.res_blocks\.(\d+)\.", r"pathway\1_res\2."),
        (r"branch1_conv\.", "branch1."),
        (r"branch1_norm\.", "branch1_bn."),
        (r"branch2\.conv_(\w)\.", r"branch2.\1."),
        (r"branch2\.norm_(\w)\.", r"branch2.\1_bn."),
    ):
        key = re.sub(pattern, theirs, key)
    return key


@pytest.mark.parametrize("with_config", [True, False])
def test_slowfast_of_pyslowfast_with_blocks_on_its_slow_pathway(
    randomized, followed, tmp_path: Path, with_config: bool
) -> None:
    from pytorchvideo.layers.nonlocal_net import create_nonlocal

    network = for_small_clips(public("slowfast_r50", randomized))
    for level, index, channels in ((2, 1, 64), (3, 5, 128)):
        residuals = network.blocks[level].multipathway_blocks[0].res_blocks
        block = create_nonlocal(dim_in=channels, dim_inner=channels // 2, pool_size=(1, 2, 2), instantiation="softmax")
        residuals[index] = followed(residuals[index], randomized(block).double())
    state = {pyslowfast_name(key): value for key, value in network.state_dict().items()}
    assert {"s1_fuse.conv_f2s.weight", "s4.pathway0_nonlocal5.bn.weight", "s5.pathway1_res2.branch2.c_bn.bias"} <= {
        *state
    }
    pairs = [[value, value] for value in (1, 2, 2, 2)]
    config = {
        "MODEL": {"ARCH": "slowfast"},
        "SLOWFAST": {"ALPHA": 4, "BETA_INV": 8, "FUSION_KERNEL_SZ": 7},
        "RESNET": {"SPATIAL_STRIDES": pairs, "SPATIAL_DILATIONS": [[1, 1]] * 4},
        "NONLOCAL": {"INSTANTIATION": "softmax", "GROUP": [[1, 1]] * 4, "POOL": [[[1, 2, 2], [1, 2, 2]]] * 4},
        "DATA": {"NUM_FRAMES": 32, "SAMPLING_RATE": 2},
    }
    content = {"model_state": state, **({"cfg": yaml.safe_dump(config)} if with_config else {})}
    torch.save(content, tmp_path / "SLOWFAST_8x8_R50.pyth")
    told = Stated() if with_config else Stated("slowfast_r50", pairwise="embedded_gaussian", subsample=True)
    weights = convert(tmp_path / "SLOWFAST_8x8_R50.pyth", "slowfast", told)
    (insertion,) = weights.network["blocks"]
    assert insertion["after"] == {"res3": [1], "res4": [5]}
    assert (weights.clip["num_frames"], weights.clip["stride_frames"]) == (32, 2)
    require_agreement("slowfast_r50", weights, network, (32, 64, 64))
