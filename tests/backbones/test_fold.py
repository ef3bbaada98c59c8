"""A folded network has no norms left to compute where a convolution takes them, and says the same."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video import r3d_18

from videonl.backbones.batch_norm import set_batch_norm
from videonl.backbones.fold import folded
from videonl.backbones.rewrites import FrameConv3d
from videonl.models import ClipClassifier, Insertion

BLOCKS = [
    Insertion("nonlocal", {"res3": [1], "res4": [1, 5]}),
    Insertion("asymmetric_pyramid", {"res3": [3]}, {"wrapper": "concat"}),
    Insertion("asymmetric_fusion", {"res5": [2]}, low="res4"),
]


def settle(network: nn.Module) -> nn.Module:
    """Give every norm statistics, weight and bias of its own, as training would."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            for shift in (module.bias, module.running_mean):
                nn.init.normal_(shift, std=0.3, generator=generator)
    return network


def norms(network: nn.Module) -> list[str]:
    return [path for path, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def clip() -> Tensor:
    return torch.randn(2, 3, 5, 37, 41, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format], ids=str)
@pytest.mark.parametrize("mode", ["trained", "frozen", "affine", "synchronized"])
def test_classifier_with_blocks_has_the_same_logits(mode: str, layout: torch.memory_format) -> None:
    torch.manual_seed(3)
    network = ClipClassifier("i3d_r50", 7, BLOCKS, width=4, batch_norm=mode)
    network = settle(network).double().to(memory_format=layout).train()
    twin = folded(network)
    assert network.training and norms(network) and not norms(twin)
    assert all(weight.is_contiguous(memory_format=layout) for weight in twin.parameters() if weight.dim() == 5)
    assert sum(isinstance(module, FrameConv3d) for module in twin.modules()) > 40
    with torch.no_grad():
        expected, logits = network.eval()(clip()), twin(clip().contiguous(memory_format=layout))
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    assert not any(parameter.requires_grad for parameter in twin.parameters())


def test_torchvision_network_has_the_same_logits() -> None:
    torch.manual_seed(3)
    network = settle(r3d_18(num_classes=7)).double().eval()
    twin = folded(network)
    assert len(norms(network)) == 20 and not norms(twin)
    with torch.no_grad():
        torch.testing.assert_close(twin(clip()), network(clip()), rtol=1e-10, atol=1e-10)


class Branching(nn.Module):
    """Norms after a convolution that others read, that runs twice, after an activation, and after no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.shared_norm = nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3)
        self.twice, self.first_norm, self.second_norm = nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3), nn.BatchNorm3d(3)
        self.active, self.relu, self.active_norm = nn.Conv3d(3, 3, 1), nn.ReLU(inplace=True), nn.BatchNorm3d(3)
        self.last, self.last_norm = nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.shared(x)
        x = self.shared_norm(shared) + shared
        x = self.first_norm(self.twice(x)) + self.second_norm(self.twice(x))
        x = self.active_norm(self.relu(self.active(x)))
        return self.last_norm(self.last(x))


def test_only_norms_that_alone_read_a_convolution_are_folded() -> None:
    torch.manual_seed(3)
    network = settle(Branching()).double().eval()
    twin = folded(network)
    assert norms(twin) == ["shared_norm", "first_norm", "second_norm", "active_norm"]
    torch.testing.assert_close(twin(clip()), network(clip()), rtol=1e-10, atol=1e-10)


def test_norms_without_statistics_stay() -> None:
    network = nn.Sequential(nn.Conv3d(3, 5, 1), nn.BatchNorm3d(5, track_running_stats=False))
    assert norms(folded(network)) == ["1"]


def test_the_network_itself_is_left_alone() -> None:
    network = settle(nn.Sequential(nn.Conv3d(3, 5, 1), nn.BatchNorm3d(5)))
    set_batch_norm(network, "affine")
    before = copy.deepcopy(network.state_dict())
    folded(network)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_looking_for_norms_leaves_no_hook_behind() -> None:
    twin = folded(ClipClassifier("c2d_r50", 5, width=3))
    assert not any(module._forward_hooks for module in twin.modules())
