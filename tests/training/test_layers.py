"""How deep a parameter is, in every backbone there is and in some that are named by path."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from videonl.backbones import BACKBONES
from videonl.models import ClipClassifier, Insertion
from videonl.training.layers import backbone_parameters, layers

RESNET = ["stem", "res2", "res3", "res4", "res5", "head"]
INCEPTION = ["stem", "mixed_3", "mixed_4", "mixed_5", "head"]


BY_KEYWORD = {"num_classes_argument": "num_classes"}  # torchvision hides it in its **kwargs


def classifier(backbone: str, blocks: Sequence[Insertion] = (), **options: object) -> ClipClassifier:
    with torch.device("meta"):
        return ClipClassifier(backbone, 7, list(blocks), **options)


def names_of(network: nn.Module) -> dict[str, list[str]]:
    """The layers by name, with the names of their parameters as plain backbones have them."""
    names = {id(value): name for name, value in network.state_dict(keep_vars=True).items()}
    return {layer.name: [names[id(parameter)] for parameter in layer.parameters] for layer in layers(network)}


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_named_backbones_have_their_stages(backbone: str) -> None:
    network = classifier(backbone)
    found = names_of(network)
    assert list(found) == (INCEPTION if backbone in ("i3d_inception", "s3d") else RESNET)
    everything = [name for layer in found.values() for name in layer]
    assert sorted(everything) == sorted(name for name, _ in network.named_parameters())


@pytest.mark.parametrize(("backbone", "units"), [("slow_r50", [0, 1, 2, 3, 4, 5]), ("i3d_r50", [0, 1, 3, 4, 5, 6])])
def test_resnets_split_where_pytorchvideo_splits_them(backbone: str, units: list[int]) -> None:
    found = names_of(classifier(backbone))
    for layer, unit in zip(RESNET, units, strict=True):
        assert found[layer]
        assert all(name.startswith(f"network.blocks.{unit}.") for name in found[layer])


def test_torchvisions_split_at_their_layers() -> None:
    found = names_of(classifier("r3d_18"))
    assert {name.split(".")[1] for name in found["stem"]} == {"stem"}
    assert {name.split(".")[1] for name in found["res4"]} == {"layer3"}
    assert found["head"] == ["network.fc.weight", "network.fc.bias"]


def test_blocks_count_with_the_stage_they_are_in() -> None:
    blocks = [
        Insertion("nonlocal", {"res3": [1], "res4": [5]}),
        Insertion("gc", ["blocks.1"]),  # after all of res2
        Insertion("asymmetric_fusion", {"res5": [2]}, low="res4"),
    ]
    network = classifier("c2d_r50", blocks)
    found = names_of(network)
    for layer in ("res2", "res3", "res4", "res5"):
        assert any(".block." in name for name in found[layer])
    assert not any(".block." in name for name in found["stem"] + found["head"])
    assert list(found) == RESNET
    inserted = {parameter for block in network.blocks.values() for parameter in block.parameters()}
    frozen = backbone_parameters(network)
    assert not inserted & set(frozen)
    assert set(frozen) | inserted | set(network.network.blocks[6].parameters()) == set(network.parameters())


@pytest.mark.parametrize(
    ("backbone", "options", "first", "last"),
    [
        (
            "pytorchvideo.models.x3d.create_x3d",
            {"input_clip_length": 4, "input_crop_size": 64, "head_activation": None},
            "network.blocks.0",
            "network.blocks.5",
        ),
        ("torchvision.models.video.r3d_18", BY_KEYWORD, "network.stem", "network.fc"),
        ("torchvision.models.video.s3d", BY_KEYWORD, "network.features.0", "network.classifier"),
        ("torchvision.models.video.mvit_v2_s", BY_KEYWORD, "network.conv_proj", "network.head"),
        ("torchvision.models.video.swin3d_t", BY_KEYWORD, "network.patch_embed", "network.head"),
    ],
)
def test_networks_by_path_split_at_their_modules(backbone: str, options: dict, first: str, last: str) -> None:
    network = classifier(backbone, backbone_options=options)
    found = names_of(network)
    assert len(found) >= 6
    names = list(found)
    assert names[0].startswith(first)
    assert names[-1].startswith(last)
    everything = [name for layer in found.values() for name in layer]
    assert sorted(everything) == sorted(name for name, _ in network.named_parameters())
    # No layer holds nearly everything: the rate falls in steps.
    sizes = [sum(parameter.numel() for parameter in layer.parameters) for layer in layers(network)]
    assert max(sizes) < 0.8 * sum(sizes)


def test_stages_of_a_network_by_path_are_its_layers() -> None:
    stages = {"early": ["layer1.0", "layer1.1"], "late": ["layer3.1"]}
    found = names_of(classifier("torchvision.models.video.r3d_18", stages=stages, backbone_options=BY_KEYWORD))
    assert list(found) == ["stem", "early", "late", "head"]
    assert {name.split(".")[1] for name in found["early"]} == {"layer1", "layer2", "layer3"}  # and what follows it
    assert {name.split(".")[1] for name in found["head"]} == {"layer4", "fc"}
