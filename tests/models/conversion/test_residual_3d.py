"""kenshohara's r3d and r2p1d, mmaction2's R(2+1)D and C2D: against their forward passes, written down by key."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones import BACKBONES
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.models.conversion import Stated, convert


class Keys(dict[str, Tensor]):
    """A state that knows which of its keys were read."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        self.used: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.used.add(key)
        return super().__getitem__(key)

    def unread(self) -> list[str]:
        return [key for key in self if key not in self.used and not key.endswith("num_batches_tracked")]


def conv(state: Keys, x: Tensor, name: str, stride: int | tuple[int, int, int] = 1) -> Tensor:
    """Without bias, and padded by half its kernel."""
    weight = state[f"{name}.weight"]
    return F.conv3d(x, weight, stride=stride, padding=[length // 2 for length in weight.shape[2:]])


def norm(state: Keys, x: Tensor, name: str, epsilon: float = 1e-5) -> Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{each}"][:, None, None, None] for each in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + epsilon).sqrt() * weight + bias


def hara(state: Keys, x: Tensor) -> Tensor:
    """3D-ResNets-PyTorch: ``models/resnet.py`` and ``models/resnet2p1d.py`` of any depth and shortcut."""

    def unit(x: Tensor, prefix: str, stride: int = 1) -> Tensor:
        after = prefix.replace("conv", "bn")
        if f"{prefix}_s.weight" not in state:
            return norm(state, conv(state, x, prefix, stride), after)
        space = norm(state, conv(state, x, f"{prefix}_s", (1, stride, stride)), f"{after}_s").relu()
        return norm(state, conv(state, space, f"{prefix}_t", (stride, 1, 1)), f"{after}_t")

    if "conv1.weight" in state:
        x = norm(state, conv(state, x, "conv1", (1, 2, 2)), "bn1").relu()
    else:
        x = norm(state, conv(state, x, "conv1_s", (1, 2, 2)), "bn1_s").relu()
        x = norm(state, conv(state, x, "conv1_t"), "bn1_t").relu()
    x = F.max_pool3d(x, 3, 2, 1)
    for layer in range(1, 5):
        for index in range(len({key.split(".")[1] for key in state if key.startswith(f"layer{layer}.")})):
            residual, stride = f"layer{layer}.{index}", 2 if layer > 1 and index == 0 else 1
            bottleneck = f"{residual}.conv3.weight" in state
            y = unit(x, f"{residual}.conv1", 1 if bottleneck else stride).relu()
            y = unit(y, f"{residual}.conv2", stride if bottleneck else 1)
            if bottleneck:
                y = unit(y.relu(), f"{residual}.conv3")
            if f"{residual}.downsample.0.weight" in state:
                x = norm(state, conv(state, x, f"{residual}.downsample.0", stride), f"{residual}.downsample.1")
            elif x.shape != y.shape:
                x = F.avg_pool3d(x, 1, stride)
                x = torch.cat([x, x.new_zeros(len(x), y.shape[1] - x.shape[1], *x.shape[2:])], 1)
            x = (x + y).relu()
    return F.linear(F.adaptive_avg_pool3d(x, 1).flatten(1), state["fc.weight"], state["fc.bias"])


def mmaction2_r2plus1d(state: Keys, x: Tensor) -> Tensor:
    """``ResNet2Plus1d`` of ``r2plus1d_r34``, and ``I3DHead``."""

    def module(x: Tensor, name: str, stride: tuple[int, int, int] = (1, 1, 1)) -> Tensor:
        x = norm(state, conv(state, x, f"{name}.conv.conv_s", (1, *stride[1:])), f"{name}.conv.bn_s").relu()
        return norm(state, conv(state, x, f"{name}.conv.conv_t", (stride[0], 1, 1)), f"{name}.bn", 1e-3)

    x = module(x, "backbone.conv1", (1, 2, 2)).relu()
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for layer in range(1, 5):
        for index in range(sum(f"backbone.layer{layer}.{i}.conv1.bn.weight" in state for i in range(99))):
            residual, stride = f"backbone.layer{layer}.{index}", (2 if layer > 1 and index == 0 else 1,) * 3
            y = module(module(x, f"{residual}.conv1", stride).relu(), f"{residual}.conv2")
            x = module(x, f"{residual}.downsample", stride) if stride[0] == 2 else x
            x = (x + y).relu()
    features = x.mean(dim=(2, 3, 4))
    return F.linear(features, state["cls_head.fc_cls.weight"], state["cls_head.fc_cls.bias"])


def mmaction2_c2d(state: Keys, x: Tensor) -> Tensor:
    """``C2D`` over the frames of all clips, pools over the clips, and ``I3DHead``."""
    batch = len(x)

    def module(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return norm(state, x[:, :, None], f"{name}.bn").squeeze(2)

    def pool(x: Tensor, *arguments: tuple[int, int, int]) -> Tensor:
        clips = F.max_pool3d(x.unflatten(0, (batch, -1)).transpose(1, 2), *arguments)
        return clips.transpose(1, 2).flatten(0, 1)

    x = module(x.transpose(1, 2).flatten(0, 1), "backbone.conv1", 2).relu()
    x = pool(x, (1, 3, 3), (1, 2, 2))
    for layer, count in enumerate((3, 4, 6, 3), start=1):
        for index in range(count):
            residual, stride = f"backbone.layer{layer}.{index}", 2 if layer > 1 and index == 0 else 1
            y = module(module(x, f"{residual}.conv1").relu(), f"{residual}.conv2", stride).relu()
            y = module(y, f"{residual}.conv3")
            x = (y + (module(x, f"{residual}.downsample", stride) if index == 0 else x)).relu()
        x = pool(x, (2, 1, 1), (2, 1, 1)) if layer == 1 else x
    features = x.unflatten(0, (batch, -1)).mean(dim=(1, 3, 4))
    return F.linear(features, state["cls_head.fc_cls.weight"], state["cls_head.fc_cls.bias"])


class Reference(nn.Module):
    """A forward pass over a state, which must read all of it."""

    def __init__(self, state: dict[str, Tensor], forward: Callable[[Keys, Tensor], Tensor]) -> None:
        super().__init__()
        self.keys, self.run = Keys(state), forward

    def forward(self, clip: Tensor) -> Tensor:
        scores = self.run(self.keys, clip)
        assert not self.keys.unread()
        return scores


@pytest.mark.parametrize(
    ("name", "depth", "shortcut"),
    [
        ("hara_r3d", 18, "padding"),
        ("hara_r3d", 34, "projection"),
        ("hara_r3d", 50, "projection"),
        ("hara_r2p1d", 18, "projection"),
        ("hara_r2p1d", 50, "projection"),
    ],
)
def test_kenshoharas_networks(agree, randomized, tmp_path: Path, name: str, depth: int, shortcut: str) -> None:
    network = BACKBONES[name](7, depth=depth, width=4, shortcut=shortcut).network
    state = randomized(network).double().state_dict()
    content = {"epoch": 200, "arch": f"resnet-{depth}", "state_dict": {f"module.{key}": state[key] for key in state}}
    torch.save({**content, "optimizer": {"state": {}}, "scheduler": None}, tmp_path / "save_200.pth")
    weights = convert(tmp_path / "save_200.pth", "kenshohara")
    assert weights.network["backbone"] == name
    assert weights.network["width"] == 4
    assert weights.network["backbone_options"] == {"depth": depth, "shortcut": shortcut}
    assert weights.clip["mean"] == (0.4345, 0.4051, 0.3775)
    assert [weights.clip[key] for key in ("num_frames", "stride_frames", "crop_px")] == [16, 1, 112]
    agree(weights, Reference(state, hara), (2, 3, 11, 53, 47))


def mmaction2_key(key: str) -> str:
    """``layer2.0.conv1_s.weight`` as mmaction2 has it."""
    key = re.sub(r"conv(\d)_([st])\.", r"conv\1.conv.conv_\2.", key)
    key = re.sub(r"bn(\d)_s\.", r"conv\1.conv.bn_s.", key)
    key = re.sub(r"bn(\d)_t\.", r"conv\1.bn.", key)
    for number, theirs in ((0, "conv.conv_s"), (1, "conv.bn_s"), (3, "conv.conv_t"), (4, "bn")):
        key = key.replace(f"downsample.{number}.", f"downsample.{theirs}.")
    return key.replace("fc.", "cls_head.fc_cls.") if key.startswith("fc.") else f"backbone.{key}"


@pytest.mark.parametrize("depth", [18, 34])
def test_mmaction2s_r2plus1d(agree, randomized, tmp_path: Path, depth: int) -> None:
    network = randomized(BACKBONES["mmaction2_r2plus1d"](7, depth=depth, width=4).network).double()
    state = {mmaction2_key(key): value for key, value in network.state_dict().items()}
    assert "backbone.layer2.0.downsample.conv.conv_s.weight" in state
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "r2plus1d_r34_8xb8-8x8x1-180e.pth")
    weights = convert(tmp_path / "r2plus1d_r34_8xb8-8x8x1-180e.pth", "mmaction2")
    assert weights.network["backbone_options"] == {"depth": depth}
    assert weights.clip["num_frames"] == weights.clip["stride_frames"] == 8
    agree(weights, Reference(state, mmaction2_r2plus1d), (2, 3, 11, 53, 47))


def test_mmaction2s_c2d(public_network, by_place, agree, mmaction2_names, tmp_path: Path) -> None:
    placed = by_place(public_network("c2d"))
    state = {mmaction2_names(place, False): value for place, value in placed.items()}
    state = {key: value.squeeze(2) if value.ndim == 5 else value for key, value in state.items()}
    torch.save({"state_dict": state}, tmp_path / "c2d.pth")
    weights = convert(tmp_path / "c2d.pth", "mmaction2", Stated(backbone="c2d_r50"))
    assert weights.network["backbone_options"]["stride_profile"]["pool_padding_px"] == 0
    agree(weights, Reference(state, mmaction2_c2d), (2, 3, 6, 53, 47))
    with pytest.raises(UserError, match=r"state --backbone \(c2d_r50 .* TSN and the nopool configurations"):
        convert(tmp_path / "c2d.pth", "mmaction2")
    with pytest.raises(UserError, match=r"its convolutions are 2D; of such networks videonl reads C2D"):
        convert(tmp_path / "c2d.pth", "mmaction2", Stated(backbone="i3d_r50", strides=(2, 2)))


def test_channels_between_split_convolutions_are_those_of_the_projects() -> None:
    with torch.device("meta"):
        hara_18 = BACKBONES["hara_r2p1d"](400, depth=18).network.state_dict()
        mmaction2_34 = BACKBONES["mmaction2_r2plus1d"](400).network.state_dict()
    assert hara_18["conv1_s.weight"].shape == (110, 3, 1, 7, 7)
    assert hara_18["layer1.0.conv1_s.weight"].shape == (144, 64, 1, 3, 3)
    assert hara_18["layer2.0.conv1_s.weight"].shape == (230, 64, 1, 3, 3)
    assert mmaction2_34["conv1_s.weight"].shape == (83, 3, 1, 7, 7)
    assert mmaction2_34["layer2.0.downsample.0.weight"].shape == (54, 64, 1, 1, 1)
    assert mmaction2_34["layer2.0.downsample.3.weight"].shape == (128, 54, 1, 1, 1)


def test_blocks_follow_their_residuals() -> None:
    torch.manual_seed(3)
    plain = ClipClassifier("hara_r3d", 7, width=4).eval()
    blocks = ClipClassifier("hara_r3d", 7, [Insertion("nonlocal", {"res4": [1, 5]})], width=4).eval()
    blocks.network.load_state_dict(plain.network.state_dict(), strict=False)
    clip = torch.randn(1, 3, 5, 33, 31)
    assert torch.equal(blocks(clip), plain(clip))


@pytest.mark.parametrize(
    ("options", "told"), [({"depth": 20}, "one of 10, 18, 34, 50, 101, 152, 200; got 20"), ({"shortcut": "A"}, "'A'")]
)
def test_depths_and_shortcuts_that_there_are_not(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        BACKBONES["hara_r3d"](7, **options)


def test_other_networks_of_the_project_are_refused_in_words(tmp_path: Path) -> None:
    torch.save({"state_dict": {"features.conv0.weight": torch.zeros(3)}}, tmp_path / "densenet.pth")
    with pytest.raises(UserError, match=r"no network of .* that videonl reads: its resnet \(r3d\) and resnet2p1d"):
        convert(tmp_path / "densenet.pth", "kenshohara")
    state = BACKBONES["hara_r3d"](7, depth=18, width=4).network.state_dict()
    torch.save({key: value for key, value in state.items() if "layer3.1" not in key}, tmp_path / "short.pth")
    with pytest.raises(UserError, match=r"\(2, 2, 1, 2\) residuals in its four layers"):
        convert(tmp_path / "short.pth", "kenshohara")
