"""A block that reads an earlier stage gets its features, and nothing else notices."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videonl.backbones import Backbone
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion, insert
from videonl.visualization.attention import attention_maps

FUSION = Insertion("asymmetric_fusion", {"res5": [2]}, low="res4")


def classifier(blocks: list[Insertion] | None = None, backbone: str = "i3d_r50", **options: Any) -> ClipClassifier:
    torch.manual_seed(3)
    network = ClipClassifier(backbone, 7, [FUSION] if blocks is None else blocks, width=4, dropout=0.0, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".block.out." in name:  # starts at 0
                parameter.normal_()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.weight.fill_(0.7)
    return network


def shallow() -> ClipClassifier:
    """Of ten layers: tracing takes the longer the more there are."""
    fusion = Insertion("asymmetric_fusion", ["res5"], low="res4")
    return classifier([fusion], "hara_r3d", backbone_options={"depth": 10}).eval()


def clip() -> Tensor:
    return torch.randn(2, 3, 5, 37, 41, generator=torch.Generator().manual_seed(5))


class TwoStages(nn.Module):
    """A high stage of another width and grid than the low one."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.ModuleList([nn.Conv3d(3, 5, 1), nn.Conv3d(5, 5, 1)])
        self.high = nn.ModuleList([nn.Conv3d(5, 7, 1, stride=2), nn.Conv3d(7, 7, 1)])

    def forward(self, x: Tensor) -> Tensor:
        for module in [*self.low, *self.high]:
            x = module(x)
        return x


def two_stages() -> Backbone:
    return Backbone(TwoStages(), {"low": ("low.0", "low.1"), "high": ("high.0", "high.1")})


@pytest.mark.parametrize(("low", "index"), [("low", 1), ("low.1", 1), ("low.0", 0)])
def test_block_reads_what_leaves_the_low_residual(low: str, index: int) -> None:
    backbone = two_stages()
    plain = copy.deepcopy(backbone.network).eval()
    block = insert(backbone, [Insertion("asymmetric_fusion", {"high": [1]}, {"dim_inner": 3}, low=low)])["high.1"]
    nn.init.normal_(block.out.weight)
    x = torch.randn(2, 3, 3, 5, 7)
    kept = list(plain.low[: index + 1])
    features = nn.Sequential(*kept)(x)
    assert block.g.in_channels == 5
    assert torch.equal(backbone.network.eval()(x), block(plain(x), features))
    assert not torch.equal(backbone.network(x), plain(x))


def test_a_block_after_the_low_residual_is_included() -> None:
    backbone = two_stages()
    wanted = [Insertion("asymmetric_fusion", {"high": [1]}, low="low"), Insertion("se", {"low": [1]})]
    blocks = insert(backbone, wanted)
    nn.init.normal_(blocks["high.1"].out.weight)
    seen = []
    blocks["high.1"].register_forward_hook(lambda block, inputs, output: seen.append(inputs[1]))
    plain = copy.deepcopy(backbone.network.low)
    x = torch.randn(2, 3, 3, 5, 7)
    backbone.network.eval()(x)
    assert torch.equal(seen[0], plain[1](plain[0](x)))
    torch.testing.assert_close(seen[0], 0.5 * plain[1].residual(plain[0](x)))  # SE starts at a half


def test_two_blocks_may_read_the_same_stage() -> None:
    network = classifier([Insertion("asymmetric_fusion", {"res5": [0, 2]}, low="res4"), FUSION][:1]).eval()
    assert list(network.blocks) == ["res5.0", "res5.2"]
    assert network(clip()).isfinite().all()


def test_network_starts_as_its_backbone_and_keeps_its_keys() -> None:
    torch.manual_seed(3)
    plain = ClipClassifier("slow_r50", 7, [], width=4)
    extended = ClipClassifier("slow_r50", 7, [FUSION], width=4)
    missing, unexpected = extended.network.load_state_dict(plain.network.state_dict(), strict=False)
    assert not unexpected and all(".block." in key for key in missing)
    assert torch.equal(extended.eval()(clip()), plain.eval()(clip()))
    kept = [key for key in extended.network.state_dict() if ".block." not in key]
    assert kept == list(plain.network.state_dict())


def test_gradients_reach_the_low_stage_through_the_block() -> None:
    backbone = two_stages()
    block = insert(backbone, [Insertion("asymmetric_fusion", {"high": [1]}, low="low")])["high.1"]
    nn.init.normal_(block.out.weight)
    for residual in backbone.network.high:
        nn.init.zeros_((residual.residual if hasattr(residual, "residual") else residual).weight)
    backbone.network(torch.randn(2, 3, 3, 5, 7)).square().sum().backward()
    assert backbone.network.low[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_reads_its_own_low_stage(duplicate) -> None:
    network = classifier().train()
    network(clip()).sum().backward()
    network.eval()
    expected = network(clip())
    twin = duplicate(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(twin(clip()), expected)


def test_nothing_of_a_forward_is_kept() -> None:
    network = classifier()
    network(clip())
    handovers = [module.low for module in network.modules() if getattr(module, "low", None) is not None]
    assert [handover.features for handover in handovers] == [None]


def test_block_without_its_low_stage_says_so() -> None:
    backbone = two_stages()
    insert(backbone, [Insertion("asymmetric_fusion", {"high": [1]}, low="low")])
    with pytest.raises(RuntimeError, match="low stage of a block has not run"):
        backbone.network.high[1](torch.randn(2, 7, 3, 5, 7))


def test_compile_needs_no_graph_break() -> None:
    network = shallow()
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(clip()), network(clip()))
    torch.compiler.reset()


def test_export_computes_the_same() -> None:
    network = shallow()
    exported = torch.export.export(network, (clip(),))
    torch.testing.assert_close(exported.module()(clip()), network(clip()))


def test_attention_is_read_over_the_low_grid() -> None:
    network = classifier()
    ((read,),) = attention_maps(network, network.blocks, clip()[:1]).values()
    assert read.block == "res5.2"
    # i3d_r50 halves height and width after res4.
    assert read.weights.shape == (read.grid[0], 3, 3) and read.grid[1:] == (2, 2)
    assert read.weights.sum().item() == pytest.approx(1, abs=1e-5)


def test_settings_build_the_same_network_again() -> None:
    network = classifier().eval()
    again = ClipClassifier.from_settings(network.settings)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(clip()), network(clip()))


@pytest.mark.parametrize(
    ("insertion", "told"),
    [
        (Insertion("asymmetric_fusion", {"res5": [2]}), ["earlier stage", "low", "res2, res3, res4, res5"]),
        (Insertion("nonlocal", {"res5": [2]}, low="res4"), ["'nonlocal'", "low: res4", "asymmetric_fusion"]),
        (Insertion("asymmetric_fusion", {"res5": [2]}, low="res1"), ["'res1'", "res2, res3, res4, res5"]),
        (Insertion("asymmetric_fusion", {"res5": [2]}, low="res4.6"), ["residual 6 of res4", "0 to 5"]),
        (Insertion("asymmetric_fusion", {"res5": [2]}, low="res4.x"), ["'res4.x'", "res4.3"]),
        (Insertion("asymmetric_fusion", {"res4": [3]}, low="res5"), ["'res5'", "before res4.3"]),
        (Insertion("asymmetric_fusion", {"res4": [5]}, low="res4"), ["'res4'", "before res4.5"]),
        (Insertion("asymmetric_fusion", {"res5": [2]}, {"low_channels": 3}, low="res4"), ["low_channels", "sizes"]),
        (Insertion("gc", {"res5": [2]}, {"ration": 4}), ["'ration'", "'gc'", "its options are: ratio"]),
        (Insertion("snl", {"res5": [2]}, {"ratio": 4}), ["'ratio'", "'snl'", "none"]),
    ],
)
def test_mistakes_say_what_exists(insertion: Insertion, told: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        classifier([insertion])
    for words in told:
        assert words in str(caught.value)
