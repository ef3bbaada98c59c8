"""What decays, at which rate each layer learns, and what is refused."""

import math

import pytest
import torch
from torch import nn

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS, NonLocal
from videonl.models import ClipClassifier, Insertion
from videonl.training import Optimization
from videonl.training.optimization import build_optimizer, parameter_groups

NORMS = (nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


@pytest.fixture
def network() -> ClipClassifier:
    with torch.device("meta"):
        return ClipClassifier("c2d_r50", 7, [Insertion("nonlocal", {"res3": [1], "res4": [3]})], width=4)


def test_norms_and_biases_do_not_decay_and_all_else_does(network: ClipClassifier) -> None:
    decayed, kept = parameter_groups(network, 0.3)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    expected_kept = {
        id(parameter)
        for module in network.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, NORMS) or name == "bias"
    }
    assert {id(parameter) for parameter in kept["params"]} == expected_kept
    assert {id(parameter) for parameter in decayed["params"]} == {
        id(parameter) for parameter in network.parameters() if id(parameter) not in expected_kept
    }


def test_biases_and_norm_of_a_block_do_not_decay() -> None:
    block = NonLocal(7)
    names = {id(parameter): name for name, parameter in block.named_parameters()}
    decayed, kept = ([names[id(p)] for p in group["params"]] for group in parameter_groups(block, 0.3))
    assert decayed == ["theta.weight", "phi.weight", "g.weight", "out.weight"]
    assert kept == ["theta.bias", "phi.bias", "g.bias", "out.bias", "norm.weight", "norm.bias"]


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_trainable_parameter_is_in_one_group_once(name: str) -> None:
    with torch.device("meta"):
        network = BACKBONES[name](7).network
    frozen = set(list(network.parameters())[::5])
    for parameter in frozen:
        parameter.requires_grad_(False)
    grouped = [parameter for group in parameter_groups(network, 0.3) for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(network.parameters()) - frozen


def test_sgd_is_nesterov_with_the_given_settings(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(lr=0.03, weight_decay=0.002, momentum=0.7))
    assert type(optimizer) is torch.optim.SGD
    for group, decay in zip(optimizer.param_groups, [0.002, 0.0], strict=True):
        assert (group["lr"], group["momentum"], group["nesterov"]) == (0.03, 0.7, True)
        assert (group["weight_decay"], group["dampening"]) == (decay, 0)


def test_sgd_takes_no_momentum(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(momentum=0.0))
    assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(0.0, False)}


def test_adamw_takes_the_rate_and_the_decay(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(optimizer="adamw", lr=0.003, weight_decay=0.05))
    assert type(optimizer) is torch.optim.AdamW
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.003, 0.05), (0.003, 0.0)]


def test_one_nesterov_step_is_the_one_worked_out_by_hand() -> None:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(2.0)
        module.bias.fill_(3.0)
    optimizer = build_optimizer(module, Optimization(lr=0.1, weight_decay=0.5, momentum=0.9))
    module(torch.tensor([[5.0]])).sum().backward()  # gradients 5 and 1
    optimizer.step()
    # First step: the velocity is the gradient, so Nesterov moves by 1.9 times it. The weight alone decays: 5 + 0.5 * 2.
    assert module.weight.item() == pytest.approx(2 - 0.1 * 1.9 * 6)
    assert module.bias.item() == pytest.approx(3 - 0.1 * 1.9 * 1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lr": 0.0}, "lr must be above 0 and at most 1000, got 0.0"),
        ({"lr": -0.1}, "got -0.1"),
        ({"weight_decay": -1e-4}, "weight_decay must be at least 0, got -0.0001"),
        ({"warmup_fraction": 1.5}, "got 1.5"),
        ({"warmup_fraction": -0.1}, "got -0.1"),
        ({"milestone_fractions": (0.5, 150_000)}, "got 150000"),
        ({"lr": math.nan}, "nan"),
        ({"lr_per_clips": 0}, "lr_per_clips must be at least 1, got 0"),
        ({"layer_decay": 0.0}, "layer_decay must be above 0 and at most 1, got 0.0"),
        ({"layer_decay": 1.5}, "got 1.5"),
        ({"backbone_factor": 0.0}, "backbone_factor must be above 0 and at most 1000, got 0.0"),
        ({"backbone_factor": 1001}, "got 1001"),
        ({"block_factor": -0.1}, "block_factor must be above 0 and at most 1000, got -0.1"),
        ({"affinity_factor": 0.0}, "affinity_factor must be above 0 and at most 1000, got 0.0"),
        ({"momentum": -0.1}, "momentum must be at least 0 and below 1, got -0.1"),
        ({"step_factor": -0.1}, "step_factor must be at least 0, got -0.1"),
        ({"optimizer": "rmsprop"}, "rmsprop"),
        ({"schedule": "cosin"}, "cosin"),
    ],
    ids=str,
)
def test_bad_values_are_refused_and_quoted(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Optimization(**settings)


def test_rates_fall_from_the_head_to_the_stem(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(lr=0.8, layer_decay=0.5, weight_decay=0.3))
    # By the module of pytorchvideo's ResNets that a parameter is in; the third is a pool.
    rates = {"0": 0.025, "1": 0.05, "3": 0.1, "4": 0.2, "5": 0.4, "6": 0.8}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    grouped = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    norms = {f"{name}." for name, module in network.named_modules() if isinstance(module, NORMS)}
    assert grouped.keys() == set(names.values())
    for name, (rate, decay) in grouped.items():
        spared = name.endswith("bias") or any(name.startswith(norm) for norm in norms)
        assert rate == pytest.approx(rates[name.split(".")[2]]), name
        assert decay == (0.0 if spared else 0.3), name
    assert any("block." in name for name in grouped)
    assert [group["name"] for group in optimizer.param_groups][-2:] == ["head", "head, no decay"]


def test_frozen_parameters_are_in_no_group_of_a_layer(network: ClipClassifier) -> None:
    network.network.blocks[0].requires_grad_(False)
    optimizer = build_optimizer(network, Optimization(layer_decay=0.5))
    grouped = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    assert grouped == {parameter for parameter in network.parameters() if parameter.requires_grad}
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.5**4)  # of res2: the stem has no group


def test_rate_follows_the_clips_of_a_step() -> None:
    settings = Optimization(lr=0.1, lr_per_clips=64)
    assert [settings.scaled_to(clips).lr for clips in (64, 16, 512)] == pytest.approx([0.1, 0.025, 0.8])
    assert Optimization(lr=0.1).scaled_to(512).lr == 0.1


def rates_of(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    return {group["name"]: group["lr"] for group in optimizer.param_groups if "no decay" not in group["name"]}


def test_the_backbone_has_a_rate_of_its_own(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(lr=0.8, backbone_factor=0.25, weight_decay=0.3))
    assert rates_of(optimizer) == pytest.approx(
        {
            **dict.fromkeys(("stem", "res2", "res3", "res4", "res5"), 0.2),
            **{"res3 blocks": 0.8, "res4 blocks": 0.8, "head": 0.8},
        }
    )
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    blocks = {id(parameter) for block in network.blocks.values() for parameter in block.parameters()}
    named = {id(p) for group in optimizer.param_groups if " blocks" in group["name"] for p in group["params"]}
    assert named == blocks


def test_blocks_have_a_rate_of_their_own(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(lr=0.8, block_factor=0.25, weight_decay=0.3))
    assert rates_of(optimizer) == pytest.approx({"network": 0.8, "network blocks": 0.2})
    blocks = {id(parameter) for block in network.blocks.values() for parameter in block.parameters()}
    named = {id(p) for group in optimizer.param_groups if " blocks" in group["name"] for p in group["params"]}
    assert named == blocks


def test_both_factors_multiply(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(lr=0.8, backbone_factor=0.5, layer_decay=0.5))
    rates = rates_of(optimizer)
    assert [rates[name] for name in ("res3", "res3 blocks", "res5", "head")] == pytest.approx([0.05, 0.1, 0.2, 0.8])


def test_affinities_have_a_rate_of_their_own(network: ClipClassifier) -> None:
    optimizer = build_optimizer(network, Optimization(lr=0.8, affinity_factor=0.25, weight_decay=0.3))
    assert rates_of(optimizer) == pytest.approx({"network": 0.8, "network affinities": 0.2})
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    named = {id(p) for group in optimizer.param_groups if " affinities" in group["name"] for p in group["params"]}
    made_of = [part for block in network.blocks.values() for part in (block.theta, block.phi)]
    assert named == {id(parameter) for part in made_of for parameter in part.parameters()}


def test_all_factors_multiply(network: ClipClassifier) -> None:
    settings = Optimization(lr=0.8, backbone_factor=0.5, layer_decay=0.5, block_factor=3, affinity_factor=0.25)
    rates = rates_of(build_optimizer(network, settings))
    assert [rates[f"res3{part}"] for part in ("", " blocks", " affinities")] == pytest.approx([0.05, 0.3, 0.075])
    assert rates["head"] == 0.8


AFFINITIES = {
    "nonlocal": ["phi", "theta"],
    "asymmetric_pyramid": ["theta"],
    "criss_cross": ["phi", "theta"],
    "axial": ["phi", "theta"],
    "gc": [],
}


@pytest.mark.parametrize("block", AFFINITIES)
def test_parameters_of_affinities(block: str) -> None:
    built = BLOCKS[block](6)
    ids = {id(parameter) for parameter in built.affinity_parameters()}
    names = [name.split(".") for name, parameter in built.named_parameters() if id(parameter) in ids]
    assert sorted({part for name in names for part in name} & {"theta", "phi"}) == AFFINITIES[block]
    # Nothing else changes what is attended: they alone get a gradient from the weights.
    if AFFINITIES[block]:
        weights = built.attention(torch.randn(2, 6, 3, 5, 7), torch.tensor([0, 104]))
        (weights.flatten(2) * torch.arange(weights[0, 0].numel())).sum().backward()
        assert ids <= {id(parameter) for parameter in built.parameters() if parameter.grad is not None}


def test_forms_without_a_softmax_keep_their_rate() -> None:
    for pairwise in ("dot_product", "concatenation"):
        assert NonLocal(6, pairwise=pairwise).affinity_parameters() == []
