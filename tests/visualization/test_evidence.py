"""Grad-CAM against its formula by hand, and on networks in which it is known what speaks for what."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.video import SwinTransformer3d

from videonl.errors import UserError
from videonl.models import ClipClassifier, Execution, Insertion
from videonl.visualization import evidence_maps, last_features
from videonl.visualization.evidence import grad_cam
from videonl.visualization.features import observe
from videonl.visualization.grid import Position, spread

SIZE = (6, 20, 28)
NAMES = {0: "none", 1: "red", 2: "green"}


def class_evidence(network: nn.Module, layer: nn.Module, clip: Tensor, index: int) -> Tensor:
    """Grad-CAM of one class at a layer, (T', H', W')."""
    seen = observe(network, {}, clip, layer)
    return grad_cam(seen.outputs[-1], seen.logits, index)


class Small(nn.Module):
    """In-place layers on both sides of the weighed one, which runs before a head that is not linear."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.stem = nn.Sequential(nn.Conv3d(3, 5, 3, stride=(2, 4, 4), padding=1), nn.BatchNorm3d(5))
        self.mixed = nn.Conv3d(5, 7, 1)
        self.head = nn.Linear(7, 3)
        self.dropout = nn.Dropout(0.5)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.double()

    def features(self, clip: Tensor) -> Tensor:
        return self.stem(clip)

    def rest(self, features: Tensor) -> Tensor:
        mixed = self.mixed(features.relu_()).tanh()
        return self.head(self.dropout(mixed.amax(dim=(2, 3, 4))))

    def forward(self, clip: Tensor) -> Tensor:
        return self.rest(self.features(clip))


def clip_of(size: Position = SIZE, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(1, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(1))


def naive(features: Tensor, gradient: Tensor) -> Tensor:
    """Equations 1 and 2 of the paper, cell by cell: (C, T, H, W) twice."""
    weights = [channel.flatten().sum() / channel.numel() for channel in gradient]
    evidence = torch.zeros(features.shape[1:], dtype=features.dtype)
    for t, y, x in torch.cartesian_prod(*map(torch.arange, evidence.shape)).tolist():
        evidence[t, y, x] = sum(w * feature for w, feature in zip(weights, features[:, t, y, x], strict=True))
    return evidence


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("index", [0, 2])
def test_evidence_is_its_formula(index: int, channels_last: bool) -> None:
    network, clip = Small().eval(), clip_of()
    features = network.features(clip).detach().requires_grad_()
    network.rest(features.clone())[0, index].backward()
    expected = naive(features[0].detach(), features.grad[0])
    if channels_last:
        network, clip = (each.to(memory_format=torch.channels_last_3d) for each in (network, clip))
    evidence = class_evidence(network.train(), network.stem, clip, index)
    assert (evidence < 0).any() and (evidence > 0).any()
    torch.testing.assert_close(evidence, expected, rtol=1e-10, atol=1e-10)


def test_evidence_of_a_whole_backbone_with_blocks_is_its_formula() -> None:
    """Sums and activations in place, a block after the layer and one after it that reads the layer too."""
    blocks = [Insertion("nonlocal", ["res4.2"]), Insertion("asymmetric_fusion", ["res5.0"], low="res4.2")]
    torch.manual_seed(0)
    network = ClipClassifier("c2d_r50", 3, blocks, width=4).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, dtype=torch.float64))
    plain = ClipClassifier("c2d_r50", 3, blocks, width=4, execution=Execution(frames_in_2d=False, in_place=False))
    plain.double().eval().load_state_dict(network.state_dict())
    clip = clip_of((5, 37, 41))
    kept: list[Tensor] = []
    layer = plain.network.get_submodule(plain.stages["res4"][2])
    layer.register_forward_hook(lambda module, args, output: kept.append(output))
    logit = plain(clip)[0, 1]
    (gradient,) = torch.autograd.grad(logit, kept)
    evidence = class_evidence(network, network.network.get_submodule(network.stages["res4"][2]), clip, 1)
    torch.testing.assert_close(evidence, naive(kept[0][0].detach(), gradient[0]), rtol=1e-10, atol=1e-10)


class Spots(nn.Module):
    """Cells of 2 frames and 4 x 4 pixels; class 1 is how much red there is, class 2 how much green."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.AvgPool3d((2, 4, 4))
        self.colors = nn.Conv3d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, 3)
        self.colors.weight.data = torch.eye(3).view(3, 3, 1, 1, 1)
        self.head.weight.data = torch.tensor([[0.0, 0, 1], [1, -1, 0], [0, 1, 0]])

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.colors(self.cells(clip)).mean(dim=(2, 3, 4)))


# Of 43 x 59 and 7 the last pixels belong to no cell, and the grid's sides are odd.
@pytest.mark.parametrize("size", [(6, 40, 56), (7, 43, 59)], ids=str)
def test_what_speaks_for_a_class_lights_up(size: Position) -> None:
    red, green = (1, 11, 47), (4, 30, 13)
    clip = torch.zeros(1, 3, *size)
    clip[(0, 0, *red)] = clip[(0, 1, *green)] = 100.0
    network = Spots()
    maps = evidence_maps(network, "colors", clip, NAMES)
    assert [(one.class_index, one.class_name, one.layer) for one in maps] == [
        (index, name, "colors") for index, name in NAMES.items()
    ]
    for evidence, spot in zip(maps[1:], (red, green), strict=True):
        pixels = spread(evidence.values, evidence.grid, size)
        brightest = (pixels == pixels.max()).nonzero()
        distance = (brightest - torch.tensor(spot)).abs().amax(dim=0)
        assert distance[0] <= 2 and distance[1] <= 4 and distance[2] <= 4
        if size == (6, 40, 56):  # cells are exact
            assert len(brightest) == 2 * 4 * 4 and pixels[spot] == pixels.max()
    against = spread(maps[1].values, maps[1].grid, size)
    assert against.min() < 0
    assert (against == against.min()).nonzero().sub(torch.tensor(green)).abs().amax() <= 4
    assert maps[0].values.eq(0).all()


def test_evidence_adds_up_to_the_logit_where_the_head_averages() -> None:
    network, clip = Spots(), clip_of((6, 40, 56), torch.float32)
    logits = network(clip)[0].detach()
    for evidence in evidence_maps(network, "colors", clip, NAMES):
        index = evidence.class_index
        assert float(evidence.values.sum()) == pytest.approx(
            float(logits[index] - network.head.bias.detach()[index]), abs=1e-5
        )
        assert evidence.probability == pytest.approx(float(logits.softmax(0)[index]), abs=1e-6)
        assert evidence.values.dtype == torch.float32 and evidence.grid == (3, 10, 14)


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    def state() -> list[object]:
        modules = list(network.modules())
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in modules]
        grads = [None if p.grad is None else p.grad.tolist() for p in network.parameters()]
        return [
            hooks,
            grads,
            [p.requires_grad for p in network.parameters()],
            [module.training for module in modules],
            [buffer.tolist() for buffer in network.buffers()],
            torch.get_rng_state().tolist(),
            torch.is_grad_enabled(),
        ]

    before = state()
    yield
    assert state() == before


def test_network_is_left_as_it_was() -> None:
    network = Small().train()
    network.stem[1].eval()
    network.head.requires_grad_(False)
    network.mixed.weight.grad = torch.full_like(network.mixed.weight, 7)
    clip = clip_of()
    with untouched(network):
        evidence_maps(network, "stem", clip, NAMES)
    assert not clip.requires_grad and clip.grad is None
    with untouched(network), pytest.raises(RuntimeError):
        evidence_maps(network, "stem", clip[:, :2], NAMES)


def test_evidence_does_not_depend_on_what_the_caller_switched_off() -> None:
    network, clip = Small(), clip_of()
    expected = class_evidence(network, network.stem, clip, 1)
    with torch.inference_mode():
        torch.testing.assert_close(class_evidence(network, network.stem, clip.clone(), 1), expected, rtol=0, atol=0)
    with torch.no_grad():
        assert torch.equal(class_evidence(network.requires_grad_(False), network.stem, clip, 1), expected)


BACKBONES = {  # what is weighed when no layer is named, and its grid for a clip of 8 x 96 x 64
    "i3d_r50": ({"width": 4}, "res5", (4, 3, 2)),
    "slow_r50": ({"width": 4}, "res5", (8, 3, 2)),
    "i3d_inception": ({}, "mixed_5", (1, 3, 2)),
    "r3d_18": ({}, "res5", (1, 6, 4)),
    "s3d": ({}, "mixed_5", (1, 3, 2)),
    "torchvision.models.video.r3d_18": (
        {"backbone_options": {"num_classes_argument": "num_classes"}},
        "layer4",
        (1, 6, 4),
    ),
    "pytorchvideo.models.x3d.create_x3d": (
        {"backbone_options": {"input_clip_length": 8, "input_crop_size": 64, "head_activation": None}},
        "blocks.4.res_blocks.6",
        (8, 3, 2),
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_evidence_at_its_last_features(name: str) -> None:
    options, layer, grid = BACKBONES[name]
    torch.manual_seed(0)
    network = ClipClassifier(name, 3, **options).to(memory_format=torch.channels_last_3d)
    clip = clip_of((8, 96, 64), torch.float32)
    path = network.stages[layer][-1] if network.stages else last_features(network.network, clip)
    assert network.stages or path == layer
    with untouched(network):
        first, second = evidence_maps(network.network, path, clip, {0: "a", 2: "c"}, layer)
    assert first.grid == second.grid == grid and first.layer == layer
    assert first.values.abs().max() > 0 and not torch.equal(first.values, second.values)


def test_last_features_end_before_the_grid_does() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU())
            self.pool = nn.AdaptiveAvgPool3d(1)
            self.last = nn.Conv3d(4, 2, 1)  # of one cell

        def forward(self, clip: Tensor) -> Tensor:
            return self.last(self.pool(self.stage(clip))).flatten(1)

    network = Pooled()
    with untouched(network):
        assert last_features(network, clip_of(dtype=torch.float32)) == "stage"
    with pytest.raises(UserError, match=r"no convolution.*--evidence_layer"):
        last_features(nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 20 * 28, 2)), clip_of(dtype=torch.float32))


def test_layers_without_evidence_say_why() -> None:
    network, clip = Small(), clip_of()
    with untouched(network), pytest.raises(UserError, match=r"at head: its output is shape \(1, 3\)"):
        evidence_maps(network, "head", clip, NAMES)
    network.spare = nn.Conv3d(3, 3, 1)
    with untouched(network), pytest.raises(UserError, match=r"at the spare: the module was not executed"):
        evidence_maps(network, "spare", clip, NAMES, "the spare")
    with pytest.raises(ValueError, match="one clip"):
        evidence_maps(network, "stem", clip[0], NAMES)


def test_evidence_that_is_not_finite_names_class_and_layer() -> None:
    network = Small()
    network.head.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"'red' at stem is not finite"):
        evidence_maps(network, "stem", clip_of(), {1: "red"})


def test_functional_forms_agree() -> None:
    """A head that ends in a pool of windows weighs cells unevenly; the mean of its gradient is what counts."""
    network = nn.Sequential(nn.Conv3d(3, 2, 1), nn.AvgPool3d((1, 2, 2), stride=1), nn.Flatten())
    clip = clip_of((1, 3, 3), torch.float32)
    evidence = class_evidence(network, network[0], clip, 0)  # logit 0: the first window of channel 0
    features = F.conv3d(clip, network[0].weight, network[0].bias)[0, 0]
    torch.testing.assert_close(evidence, features / 9)  # four gradients of 1/4 in nine cells


def test_layers_with_channels_last_are_refused() -> None:
    network = SwinTransformer3d([2, 4, 4], 24, [1, 1], [2, 2], [2, 3, 3], num_classes=3).eval()
    clip = clip_of((4, 24, 32), torch.float32)
    for layer in ("patch_embed", "features.0", "features.2", "norm"):
        with pytest.raises(UserError, match=f"cannot compute evidence at {layer}: its output is channels-last"):
            evidence_maps(network, layer, clip, {1: "red"})
    (found,) = evidence_maps(network, "patch_embed.proj", clip, {1: "red"})
    assert found.grid == (2, 6, 8)
