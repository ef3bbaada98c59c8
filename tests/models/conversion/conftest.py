"""Networks of pytorchvideo's own, with its non-local blocks, as the truth that converted ones must agree with."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videonl.models import ClipClassifier
from videonl.models.weights import Weights

KERNELS = {
    "c2d": (1, ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))),
    "i3d": (5, ((3, 1, 1), [(3, 1, 1), (1, 1, 1)], [(3, 1, 1), (1, 1, 1)], [(1, 1, 1), (3, 1, 1)])),
    "slow": (1, ((1, 1, 1), (1, 1, 1), (3, 1, 1), (3, 1, 1))),
}


class Followed(nn.Module):
    """A residual and a block after it."""

    def __init__(self, residual: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.residual = residual
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.residual(x))


def randomize(network: nn.Module) -> nn.Module:
    """Random weights and statistics everywhere, the gammas that start at 0 included."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                positive = value.ndim == 1 and not key.endswith("bias") and "running_mean" not in key
                low, high = (0.5, 1.5) if positive else (-0.2, 0.2)
                value.uniform_(low, high, generator=generator)
    return network.eval()


def build_public(
    variant: str = "i3d",
    block: Callable[[int], nn.Module] | None = None,
    after: Mapping[str, Sequence[int]] | None = None,
    depth: int = 50,
    **options: Any,
) -> nn.Module:
    """A ResNet by pytorchvideo alone, in float64; ``block(channels)`` follows the residuals of ``after``."""
    from pytorchvideo.models.resnet import create_resnet

    stem_kernel, conv_a = KERNELS[variant]
    network = create_resnet(
        model_depth=depth,
        model_num_class=7,
        stem_dim_out=4,
        stem_conv_kernel_size=(stem_kernel, 7, 7),
        stage_conv_a_kernel_size=conv_a,
        stage1_pool=None if variant == "slow" else nn.MaxPool3d,
        head_pool=nn.AdaptiveAvgPool3d,
        **options,
    )
    stages = [part for part in network.blocks if hasattr(part, "res_blocks")]
    for stage, indices in (after or {}).items():
        residuals = stages[int(stage.removeprefix("res")) - 2].res_blocks
        for index in indices:
            residuals[index] = Followed(residuals[index], block(4 * 4 * 2 ** (int(stage[-1]) - 2)))
    return randomize(network).double()


def places_of(network: nn.Module) -> dict[str, Tensor]:
    """The state by place: ``stem.conv.weight``, ``res3.1.branch2.conv_a.weight``, ``res3.1.block.conv_g.bias``, ..."""
    stages = [str(index) for index, part in enumerate(network.blocks) if hasattr(part, "res_blocks")]
    placed = {}
    for key, value in network.state_dict().items():
        _, number, rest = key.split(".", 2)
        if number in stages:
            index, rest = re.fullmatch(r"res_blocks\.(\d+)\.(?:residual\.)?(.+)", rest).groups()
            placed[f"res{stages.index(number) + 2}.{index}.{rest}"] = value
        else:
            placed[f"{'stem' if number == '0' else 'head'}.{rest}"] = value
    return placed


def mmaction2_name(place: str, pooled: bool) -> str:
    """``res3.1.branch2.conv_a.weight`` as mmaction2 and mmcv have it."""
    if found := re.fullmatch(r"res(\d)\.(\d+)\.(.+)", place):
        layer, rest = f"backbone.layer{int(found[1]) - 1}.{found[2]}", found[3]
        if part := re.fullmatch(r"branch2\.(conv|norm)_(\w)\.(.+)", rest):
            kind = "conv" if part[1] == "conv" else "bn"
            return f"{layer}.conv{'abc'.index(part[2]) + 1}.{kind}.{part[3]}"
        if part := re.fullmatch(r"branch1_(conv|norm)\.(.+)", rest):
            return f"{layer}.downsample.{'conv' if part[1] == 'conv' else 'bn'}.{part[2]}"
        module, _, parameter = rest.removeprefix("block.").rpartition(".")
        block = f"{layer}.non_local_block"
        if module in ("conv_out", "bn"):
            return f"{block}.conv_out.{'bn' if module == 'bn' else 'conv'}.{parameter}"
        return f"{block}.{module}{'.0' if pooled and module in ('g', 'phi') else ''}.conv.{parameter}"
    for ours, theirs in (("stem.conv", "conv1.conv"), ("stem.norm", "conv1.bn")):
        place = place.replace(ours, f"backbone.{theirs}")
    return place.replace("head.proj", "cls_head.fc_cls")


def logits_of(weights: Weights, clip: Tensor) -> Tensor:
    """What the network of converted weights says, in float64, built from the weights' own description."""
    classifier = ClipClassifier.from_settings(weights.network).double().eval()
    classifier.network.load_state_dict(weights.state)
    with torch.no_grad():
        return classifier(clip)


@pytest.fixture
def public_network() -> Callable[..., nn.Module]:
    return build_public


@pytest.fixture
def by_place() -> Callable[[nn.Module], dict[str, Tensor]]:
    return places_of


@pytest.fixture
def randomized() -> Callable[[nn.Module], nn.Module]:
    return randomize


@pytest.fixture
def followed() -> type[nn.Module]:
    return Followed


@pytest.fixture
def mmaction2_names() -> Callable[[str, bool], str]:
    return mmaction2_name


@pytest.fixture
def agree() -> Callable[[Weights, nn.Module], None]:
    """Asserts that converted weights give the logits of the network they are from."""

    def check(weights: Weights, network: nn.Module, shape: tuple[int, ...] = (2, 3, 16, 53, 47)) -> None:
        clip = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            expected = network(clip)
        found = logits_of(weights, clip)
        assert expected.std() > 1e-6
        assert (found - expected).abs().max() / expected.abs().max() < 1e-10

    return check
