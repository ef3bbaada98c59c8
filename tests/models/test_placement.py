"""Blocks stand where they were asked to, and the network around them does not notice."""

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn

from videonl.backbones import BACKBONES, Backbone
from videonl.blocks import NonLocal
from videonl.errors import UserError
from videonl.models import ClipClassifier, InsertedAfter, Insertion, insert
from videonl.models.channels import output_channels

FIVE = Insertion("nonlocal", {"res3": [1, 3], "res4": [1, 3, 5]})
FIVE_NAMES = ["res3.1", "res3.3", "res4.1", "res4.3", "res4.5"]
NAMES_R50 = ["c2d_r50", "i3d_r50", "slow_r50"]


def classifier(backbone: str = "i3d_r50", blocks: list[Insertion] | None = None) -> ClipClassifier:
    torch.manual_seed(3)
    return ClipClassifier(backbone, 7, [FIVE] if blocks is None else blocks, width=4, dropout=0.0)


def clip() -> Tensor:
    return torch.randn(2, 3, 5, 37, 41, generator=torch.Generator().manual_seed(5))


def awaken(network: nn.Module) -> None:
    """Open every gamma that starts at 0, of residuals and of blocks."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.weight.fill_(0.7)


class TinyBackbone(nn.Module):
    """Two residuals of different widths, one with norm and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(3, 7, 1), nn.BatchNorm3d(7))
        self.second = nn.Conv3d(7, 11, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).mean(dim=(2, 3, 4))


def tiny() -> Backbone:
    return Backbone(TinyBackbone(), {"low": ("first",), "high": ("second",)})


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES_R50)
def test_network_with_five_blocks_starts_as_its_backbone(name: str, training: bool) -> None:
    plain, extended = classifier(name, blocks=[]), classifier(name)
    awaken(plain)
    extended.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(extended.train(training)(clip()), plain.train(training)(clip()))


@pytest.mark.parametrize("name", NAMES_R50)
def test_every_key_of_the_backbone_stays_valid(name: str) -> None:
    plain, extended = classifier(name, blocks=[]), classifier(name)
    missing, unexpected = extended.network.load_state_dict(plain.network.state_dict(), strict=False)
    assert not unexpected
    # Four projections with biases, and four tensors of a norm: torch fills in num_batches_tracked by itself.
    assert len(missing) == 5 * (4 * 2 + 4)
    assert all(".block." in key for key in missing)
    kept = {key: value for key, value in extended.network.state_dict().items() if ".block." not in key}
    assert list(kept) == list(plain.network.state_dict())
    assert all(torch.equal(value, plain.network.state_dict()[key]) for key, value in kept.items())
    assert not any("residual" in key for key in extended.state_dict())


@pytest.mark.parametrize(
    "wrap", [lambda network: network, lambda network: nn.Sequential(nn.ModuleDict({"a": network}))]
)
def test_state_dict_round_trips_at_any_depth(wrap) -> None:
    first, second = wrap(classifier()), wrap(classifier())
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.normal_()
    second.load_state_dict(first.state_dict())
    assert list(second.state_dict()) == list(first.state_dict())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_strict_loading_still_notices_missing_and_unknown_keys() -> None:
    network = classifier()
    state = network.state_dict()
    key = next(key for key in state if "res_blocks.1.branch2" in key and key.startswith("network.blocks.3."))
    del state[key]
    state[key.replace("branch2", "branch7")] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*Unexpected key"):
        network.load_state_dict(state)


def test_loading_leaves_the_given_state_dict_alone() -> None:
    network = classifier()
    state = network.state_dict()
    keys = list(state)
    network.load_state_dict(state)
    assert list(state) == keys


def test_block_named_like_its_residuals_keys_is_refused() -> None:
    residual = nn.Module()
    residual.block = nn.Identity()
    with pytest.raises(ValueError, match="member named 'block'"):
        InsertedAfter(residual, NonLocal(7))


def test_block_follows_its_residual() -> None:
    residual, block = nn.Conv3d(3, 7, 1), NonLocal(7)
    nn.init.ones_(block.norm.weight)
    wrapped = InsertedAfter(residual, block).eval()
    x = torch.randn(2, 3, 3, 5, 7)
    assert torch.equal(wrapped(x), block(residual(x)))
    assert not torch.equal(wrapped(x), residual(x))


def test_blocks_are_named_in_network_order_and_stand_there() -> None:
    scattered = [
        Insertion("nonlocal", {"res4": [5, 1], "res3": [3]}),
        Insertion("nonlocal", {"res4": [3], "res3": [1]}),
    ]
    network = classifier(blocks=scattered)
    assert list(network.blocks) == FIVE_NAMES
    stages = BACKBONES["i3d_r50"](7, width=4).stages
    for name, block in network.blocks.items():
        stage, index = name.split(".")
        assert network.network.get_submodule(stages[stage][int(index)]).block is block
    assert sum(isinstance(module, InsertedAfter) for module in network.modules()) == 5


def test_blocks_are_as_wide_as_the_features_and_take_their_options() -> None:
    options = {"dim_inner": 5, "subsample": False, "scale": True}
    network = classifier(blocks=[Insertion("nonlocal", {"res3": [1]}, options), Insertion("nonlocal", {"res5": [2]})])
    assert [block.norm.num_features for block in network.blocks.values()] == [32, 128]
    assert [block.theta.out_channels for block in network.blocks.values()] == [5, 64]
    assert [block.subsample for block in network.blocks.values()] == [False, True]


def test_every_block_takes_part() -> None:
    network = classifier()
    awaken(network)
    network.train()(clip()).square().sum().backward()
    assert all(block.theta.weight.grad.abs().sum() > 0 for block in network.blocks.values())


def test_a_deep_copy_stands_alone() -> None:
    network = classifier().eval()
    twin = copy.deepcopy(network)
    for name, block in twin.blocks.items():
        assert block is not network.blocks[name]
        assert any(module is block for module in twin.modules())
    assert torch.equal(twin(clip()), network(clip()))
    before = network(clip())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(network(clip()), before)


@pytest.mark.parametrize("through", ["pickle", "torch.save"])
def test_network_survives_pickling(through: str) -> None:
    network = classifier().eval()
    if through == "pickle":
        restored = pickle.loads(pickle.dumps(network))
    else:
        buffer = io.BytesIO()
        torch.save(network, buffer)
        restored = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert torch.equal(restored(clip()), network(clip()))
    assert list(restored.state_dict()) == list(network.state_dict())
    assert restored.settings == network.settings


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ([Insertion("nonlokal", {"res3": [1]})], ["'nonlokal'", "nonlocal"]),
        ([Insertion("nonlocal", {"res6": [1]})], ["'res6'", "res2, res3, res4, res5"]),
        ([Insertion("nonlocal", {"res3": [4]})], ["residual 4 of res3", "0 to 3"]),
        ([Insertion("nonlocal", {"res4": [-1]})], ["residual -1 of res4", "0 to 5"]),
        ([Insertion("nonlocal", {"res3": [1, 1]})], ["res3.1", "once"]),
        ([FIVE, Insertion("nonlocal", {"res4": [3]})], ["res4.3", "once"]),
        ([Insertion("nonlocal", {"res3": [1]}, {"dim_iner": 5})], ["'nonlocal'", "dim_iner"]),
        ([Insertion("nonlocal", {"res3": [1]}, {"dim_inner": 0})], ["'nonlocal'", "dim_inner", "got 0"]),
    ],
)
def test_mistakes_in_a_placement_say_what_exists(blocks: list[Insertion], told: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        classifier(blocks=blocks)
    for words in told:
        assert words in str(caught.value)


def test_unknown_backbones_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        classifier("i3d_r51")
    assert "'i3d_r51'" in str(caught.value)
    assert all(name in str(caught.value) for name in BACKBONES)


def test_refused_placement_leaves_the_backbone_alone() -> None:
    backbone = tiny()
    keys = list(backbone.network.state_dict())
    with pytest.raises(UserError):
        insert(backbone, [Insertion("nonlocal", {"low": [0]}), Insertion("nonlocal", {"high": [1]})])
    assert list(backbone.network.state_dict()) == keys
    assert not any(isinstance(module, InsertedAfter) for module in backbone.network.modules())


def test_nothing_to_insert_changes_nothing() -> None:
    backbone = tiny()
    modules = list(backbone.network.modules())
    assert insert(backbone, []) == {}
    assert list(backbone.network.modules()) == modules


def test_output_channels_are_found_without_touching_the_network() -> None:
    network = tiny().network
    before = copy.deepcopy(network.state_dict())
    assert output_channels(network, ["first", "second"]) == {"first": 7, "second": 11}
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(value.device.type == "cpu" for value in network.state_dict().values())
    assert not any(module._forward_hooks for module in network.modules())
    assert network.training


def test_output_channels_removes_its_hooks_when_the_network_fails() -> None:
    network = TinyBackbone()
    network.second = nn.Conv3d(8, 11, 1)
    with pytest.raises(RuntimeError):
        output_channels(network, ["second"])
    assert not any(module._forward_hooks for module in network.modules())


def test_any_network_with_named_stages_takes_blocks() -> None:
    backbone = tiny()
    blocks = insert(backbone, [Insertion("nonlocal", {"high": [0], "low": [0]})])
    assert {name: block.norm.num_features for name, block in blocks.items()} == {"low.0": 7, "high.0": 11}
    assert backbone.network(torch.randn(2, 3, 3, 5, 7)).shape == (2, 11)


def test_settings_build_the_same_network_again() -> None:
    blocks = [Insertion("nonlocal", {"res3": [1]}, {"dim_inner": 5}), Insertion("nonlocal", {"res4": [3]})]
    network = ClipClassifier("slow_r50", 7, blocks, width=4, dropout=0.3)
    again = ClipClassifier.from_settings(network.settings)
    assert again.settings == network.settings
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(clip()), network.eval()(clip()))


def test_settings_are_plain_data() -> None:
    def is_plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(map(is_plain, value))
        return value is None or isinstance(value, str | int | float | bool)

    assert is_plain(classifier().settings)


def test_published_placements_have_names_and_one_place_stands_alone() -> None:
    def names(after: dict[str, list[int]] | list[str] | str, backbone: str = "i3d_r50") -> list[str]:
        with torch.device("meta"):
            return list(ClipClassifier(backbone, 7, [Insertion("gc", after)], width=4).blocks)

    assert names("five_r50") == FIVE_NAMES
    assert names("one_r50") == ["res4.4"]
    assert names("ten_r50") == [f"res3.{i}" for i in range(4)] + [f"res4.{i}" for i in range(6)]
    assert names("every_r50") == [*names("ten_r50"), *(f"res5.{i}" for i in range(3))]
    assert names("five_r101", "i3d_r101") == ["res3.1", "res3.3", "res4.6", "res4.13", "res4.20"]
    assert names("res4") == ["res4.5"] and names("res3.2") == ["res3.2"]


def test_blocks_go_into_any_network_by_module_paths() -> None:
    network = TinyBackbone()
    paths = [path for path, module in network.named_children() if isinstance(module, nn.Module)]
    blocks = insert(network, [Insertion("nonlocal", [paths[0]])])
    assert list(blocks) == [paths[0]]
    assert isinstance(network.get_submodule(paths[0]), InsertedAfter)
