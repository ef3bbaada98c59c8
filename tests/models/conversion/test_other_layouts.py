"""torchvision, Inception I3D and single blocks: names as they are, or one block."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videonl.backbones import BACKBONES, Backbone
from videonl.backbones.fold import folded
from videonl.blocks import BLOCKS
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.models.checkpoints import load_trained, read_weights
from videonl.models.conversion import Stated, convert
from videonl.models.transfer import load_into

BRANCHES = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
MIXED = {  # channels of the six branches, table 1 of arXiv:1409.4842
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


def inception_shapes() -> dict[str, tuple[int, ...]]:
    """Every key of piergiaj's ``rgb_imagenet.pt`` and its shape, written down from the architecture."""
    units = {"Conv3d_1a_7x7": (64, 3, 7), "Conv3d_2b_1x1": (64, 64, 1), "Conv3d_2c_3x3": (192, 64, 3)}
    for name, (into, b0, b1a, b1b, b2a, b2b, b3b) in MIXED.items():
        inputs, outputs = (into, into, b1a, into, b2a, into), (b0, b1a, b1b, b2a, b2b, b3b)
        for branch, fan_in, fan_out in zip(BRANCHES, inputs, outputs, strict=True):
            units[f"{name}.{branch}"] = (fan_out, fan_in, 3 if branch in ("b1b", "b2b") else 1)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (fan_out, fan_in, kernel) in units.items():
        shapes[f"{name}.conv3d.weight"] = (fan_out, fan_in, kernel, kernel, kernel)
        shapes |= {f"{name}.bn.{each}": (fan_out,) for each in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {"logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,)}


class Keyed(nn.Module):
    """A network with given keys and shapes, which computes nothing of interest."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], head: str, num_classes: int, epsilon: float) -> None:
        super().__init__()
        for key, shape in shapes.items():
            module: nn.Module = self
            *path, name = key.split(".")
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_buffer(name, torch.zeros(num_classes if head in key else shape[0], *shape[1:]))
        self.add_module("example", nn.BatchNorm3d(1, eps=epsilon, affine=False, track_running_stats=False))


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def torchvision_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's networks by name, where the project does not have them already."""
    from torchvision.models import get_model

    def build(name: str, num_classes: int, width: int = 64, dropout: float = 0.5) -> Backbone:
        return Backbone(get_model(name, weights=None, num_classes=num_classes), {})

    for name in ("r3d_18", "mc3_18", "r2plus1d_18", "s3d"):
        if name not in BACKBONES:
            monkeypatch.setitem(BACKBONES, name, partial(build, name))


@pytest.mark.usefixtures("torchvision_backbones")
@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", pytest.param("s3d", marks=pytest.mark.slow)])
def test_torchvision_video_networks(agree, tmp_path: Path, name: str) -> None:
    from torchvision.models import get_model

    torch.manual_seed(3)
    network = get_model(name, weights=None, num_classes=7).double().eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.ndim == 1 and value.is_floating_point():
                value.uniform_(0.5, 1.5)
    weights = convert(save(network.state_dict(), tmp_path / f"{name}.pth"), "torchvision")
    assert weights.network["backbone"] == name
    assert weights.network["backbone_options"] is None
    assert weights.state.keys() == network.state_dict().keys()
    assert weights.clip["mean"] == (0.43216, 0.394666, 0.37645)
    assert weights.clip["crop_px"] == (224 if name == "s3d" else 112)
    # S3D averages over a window of 2 x 7 x 7, the least it takes.
    agree(weights, network, (1, 3, 14, 224, 224) if name == "s3d" else (2, 3, 4, 29, 31))


@pytest.mark.parametrize(("depth", "name"), [(50, "resnet50"), pytest.param(101, "resnet101", marks=pytest.mark.slow)])
def test_image_resnet_inflates_so_that_a_still_video_gives_the_image_answer(
    tmp_path: Path, depth: int, name: str
) -> None:
    from torchvision.models import get_model

    torch.manual_seed(3)
    images = get_model(name, weights=None, num_classes=7).double().eval()
    path = save(images.state_dict(), tmp_path / "image.pth")
    weights = convert(path, "torchvision", Stated(backbone=f"c2d_r{depth}"))
    classifier = ClipClassifier.from_settings(weights.network).double().eval()
    classifier.network.load_state_dict(weights.state)
    image = torch.randn(2, 3, 61, 67, dtype=torch.float64)
    with torch.no_grad():
        expected = images(image)
        found = classifier(image[:, :, None].expand(-1, -1, 4, -1, -1))
    assert (found - expected).abs().max() / expected.abs().max() < 1e-10


def test_inflated_kernels_sum_to_the_image_kernel(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    state = resnet50(num_classes=7).state_dict()
    weights = convert(save(state, tmp_path / "image.pth"), "torchvision", Stated(backbone="i3d_r50"))
    assert weights.state["blocks.0.conv.weight"].shape[2] == 5
    assert torch.allclose(weights.state["blocks.0.conv.weight"].sum(dim=2), state["conv1.weight"])
    assert torch.allclose(
        weights.state["blocks.5.res_blocks.1.branch2.conv_a.weight"].sum(dim=2), state["layer4.1.conv1.weight"]
    )


def test_image_weights_want_to_know_what_to_inflate_to(tmp_path: Path) -> None:
    path = save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "image.pth")
    with pytest.raises(UserError, match="which 3D ResNet to inflate"):
        convert(path, "torchvision")


def inception(num_classes: int, width: int = 64, dropout: float = 0.5, epsilon: float = 1e-3) -> Backbone:
    return Backbone(Keyed(inception_shapes(), "logits", num_classes, epsilon), {})


def test_inception_key_for_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shapes = inception_shapes()
    assert len(shapes) == 5 * 57 + 2
    if "i3d_inception" not in BACKBONES:
        monkeypatch.setitem(BACKBONES, "i3d_inception", inception)
    state = {key: torch.randn(shape) for key, shape in shapes.items()}
    weights = convert(
        save(state, tmp_path / "rgb_imagenet.pt"), "i3d-inception", Stated(num_frames=64, stride_frames=1)
    )
    assert weights.network["num_classes"] == 400
    named = {key for key in weights.state if not key.endswith("num_batches_tracked")}
    assert named == state.keys()
    assert all(torch.equal(weights.state[key], state[key]) for key in state)
    assert weights.clip["mean"] == weights.clip["std"] == (0.5, 0.5, 0.5)


def test_a_norm_that_adds_another_epsilon_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(BACKBONES, "i3d_inception", partial(inception, epsilon=1e-5))
    state = {key: torch.zeros(shape) for key, shape in inception_shapes().items()}
    with pytest.raises(UserError, match=r"norm .*example adds 1e-05 to variances, the file's 0.001"):
        convert(save(state, tmp_path / "rgb.pt"), "i3d-inception")


def public_block(channels: int = 10, inner: int = 5, concat: bool = False, pooled: bool = True) -> dict[str, Tensor]:
    number = ".0" if pooled else ""
    shapes = {"g" + number: (inner, channels), "theta": (inner, channels), "phi" + number: (inner, channels)}
    shapes["W.0"] = (channels, inner)
    state = {}
    for name, (rows, columns) in shapes.items():
        state |= {f"{name}.weight": torch.randn(rows, columns, 1, 1, 1), f"{name}.bias": torch.randn(rows)}
    state |= {f"W.1.{name}": torch.rand(channels) + 0.5 for name in ("weight", "bias", "running_mean", "running_var")}
    return state | ({"concat_project.0.weight": torch.randn(1, 2 * inner, 1, 1)} if concat else {})


def naive(state: dict[str, Tensor], x: Tensor, pooled: bool) -> Tensor:
    """AlexHex7's embedded Gaussian, step by step."""
    state = {key.replace("g.0.", "g.").replace("phi.0.", "phi."): value for key, value in state.items()}
    project = {
        name: nn.functional.conv3d(x, state[f"{name}.weight"], state[f"{name}.bias"]) for name in ("g", "theta", "phi")
    }
    if pooled:
        project |= {name: nn.functional.max_pool3d(project[name], (1, 2, 2)) for name in ("g", "phi")}
    weights = (project["theta"].flatten(2).mT @ project["phi"].flatten(2)).softmax(-1)
    y = (weights @ project["g"].flatten(2).mT).mT.unflatten(2, x.shape[2:])
    out = nn.functional.conv3d(y, state["W.0.weight"], state["W.0.bias"])
    norm = [state[f"W.1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    return x + nn.functional.batch_norm(out, *norm)


@pytest.mark.parametrize("pooled", [True, False])
def test_one_block(tmp_path: Path, pooled: bool) -> None:
    state = {key: value.double() for key, value in public_block(pooled=pooled).items()}
    weights = convert(save(state, tmp_path / "block.pth"), "alexhex7-block", Stated(pairwise="embedded_gaussian"))
    assert weights.network is None
    block = BLOCKS[weights.block["block"]](10, **weights.block["options"]).double().eval()
    block.load_state_dict(weights.state)
    x = torch.randn(2, 10, 3, 5, 7, dtype=torch.float64)
    assert (block(x) - naive(state, x, pooled)).abs().max() < 1e-10


def test_one_block_tells_what_it_can(tmp_path: Path) -> None:
    told = convert(save(public_block(concat=True), tmp_path / "block.pth"), "alexhex7-block")
    assert told.block["options"] == {"pairwise": "concatenation", "subsample": True, "pool_order": "post"}
    with pytest.raises(UserError, match="state --pairwise"):
        convert(save(public_block(), tmp_path / "block.pth"), "alexhex7-block")
    with pytest.raises(UserError, match="does not fit the file: its blocks are concatenation"):
        convert(save(public_block(concat=True), tmp_path / "b.pth"), "alexhex7-block", Stated(pairwise="dot_product"))


def test_a_block_for_images_is_refused(tmp_path: Path) -> None:
    state = {key: value[..., 0] if value.ndim == 5 else value for key, value in public_block().items()}
    with pytest.raises(UserError, match="for images or sequences"):
        convert(save(state, tmp_path / "block.pth"), "alexhex7-block", Stated(pairwise="dot_product"))


def test_the_flow_network_of_inception_says_what_it_reads(tmp_path: Path) -> None:
    torch.manual_seed(3)
    shapes = inception_shapes() | {"Conv3d_1a_7x7.conv3d.weight": (64, 2, 7, 7, 7)}
    state = {
        key: 0.05 * torch.randn(shape) if "running_var" not in key else torch.ones(shape)
        for key, shape in shapes.items()
    }
    weights = convert(save(state, tmp_path / "flow_imagenet.pt"), "i3d-inception")
    assert weights.network["backbone_options"] == {"in_channels": 2}
    assert weights.reads.startswith("optical flow (2 channels, horizontal and vertical")
    weights.save(tmp_path / "flow.pt")
    flow = torch.randn(1, 2, 11, 37, 41)
    block = [Insertion("nonlocal", {"mixed_4": [1]})]
    with_block = ClipClassifier("i3d_inception", 400, block, backbone_options={"in_channels": 2}).eval()
    with_block.network.load_state_dict(weights.state, strict=False)
    network = read_weights(tmp_path / "flow.pt").build()
    with torch.no_grad():
        assert torch.equal(network(flow), with_block(flow))
        assert torch.allclose(folded(network)(flow), network(flow), atol=1e-5)
    for use in (load_trained, lambda path: load_into(ClipClassifier("i3d_inception", 7), read_weights(path))):
        with pytest.raises(UserError, match=r"flow\.pt reads optical flow .*, but videonl reads videos as RGB frames"):
            use(tmp_path / "flow.pt")
