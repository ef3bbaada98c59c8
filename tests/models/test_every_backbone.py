"""Every block in every backbone, by stage and by module path."""

import copy
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videonl.backbones import BACKBONES, backbone_options, build_backbone
from videonl.blocks import BLOCKS
from videonl.errors import UserError
from videonl.models import ClipClassifier, InsertedAfter, Insertion, insert
from videonl.models.channels import output_channels

# The other ResNets, SlowFasts and X3Ds differ from these in depth or in kernels alone. X3D comes by dotted path too,
# without stages.
X3D = "pytorchvideo.models.x3d.create_x3d"
X3D_OPTIONS = {"input_clip_length": 5, "input_crop_size": 33, "head_activation": None}
NETWORKS: dict[str, dict[str, Any]] = {
    "c2d_r50": {"width": 4},
    "i3d_r50": {"width": 4, "stride_profile": "long"},
    "slow_r50": {"width": 4},
    **{name: {} for name in ("i3d_inception", "r3d_18", "mc3_18", "r2plus1d_18", "s3d")},
    "slowfast_r50": {"width": 8},
    "x3d_xs": {},
    "csn_r101": {"width": 4},
    "r2plus1d_r50": {"width": 4},
    "hara_r2p1d": {"width": 4, "depth": 18},
    "mmaction2_r2plus1d": {"width": 4, "depth": 18},
    X3D: X3D_OPTIONS,
}
LAST_STAGES = dict.fromkeys(("i3d_inception", "s3d"), ("mixed_3", "mixed_4"))
PATHS = {X3D: ("blocks.2.res_blocks.1", "blocks.3")}


# Of the same kind as others.
SLOW = ("c2d_r50", "slow_r50", "mc3_18", "r2plus1d_18", "x3d_xs", "csn_r101", "r2plus1d_r50", "hara_r2p1d")
FITTED = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NETWORKS]


def places(name: str) -> tuple[str, str]:
    return PATHS.get(name) or LAST_STAGES.get(name, ("res3", "res4"))


def insertion(name: str, block: str) -> Insertion:
    low, high = places(name)
    return Insertion(block, [high], low=low if BLOCKS[block].takes_low else None)


def clip() -> Tensor:
    return torch.randn(1, 3, 7, 33, 35, generator=torch.Generator().manual_seed(5))


class Reached(Exception):  # noqa: N818  # it is no error
    """Carries the features out of a forward."""


def features_before(network: nn.Module, path: str) -> Tensor:
    """What enters the module that follows, which is all that a block changes; what comes later is not computed."""

    def stop(module: nn.Module, given: object, returned: Tensor) -> None:
        raise Reached(returned)

    hook = network.get_submodule(path).register_forward_hook(stop)
    with torch.no_grad(), hook, pytest.raises(Reached) as reached:
        network(clip())
    features: Tensor = reached.value.args[0]
    return features


# By its dotted path, pytorchvideo's network is as it is, with a pool that torch has for no narrow numbers on CPUs.
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {X3D}))
def test_every_backbone_runs_in_bfloat16(name: str) -> None:
    torch.manual_seed(3)
    network = build_backbone(name, 7, NETWORKS[name]).network.eval()
    with torch.no_grad():
        expected, given = network(clip()), network.to(torch.bfloat16)(clip().to(torch.bfloat16))
    assert given.dtype == torch.bfloat16
    assert float((given.float() - expected).abs().max()) < 0.1 * float(expected.abs().max())


@pytest.mark.parametrize("name", FITTED)
def test_every_block_fits_every_backbone(name: str) -> None:
    torch.manual_seed(3)
    built = build_backbone(name, 7, NETWORKS[name])
    plain = built.network.eval()
    keys = list(plain.state_dict())
    before = cache(partial(features_before, plain))
    for block in BLOCKS:
        backbone = copy.deepcopy(built)  # its weights are loaded: drawing them anew takes longer than all else
        blocks = insert(backbone, [insertion(name, block)])
        network = backbone.network.eval()
        missing, unexpected = network.load_state_dict(plain.state_dict(), strict=False)
        (standing,) = (path for path, module in network.named_modules() if isinstance(module, InsertedAfter))
        assert not unexpected and missing and all(key.startswith(f"{standing}.block.") for key in missing)
        assert [key for key in network.state_dict() if not key.startswith(f"{standing}.block.")] == keys
        after = features_before(network, standing)
        # Squeeze and excitation starts as a half, as published.
        share = 1.0 if next(iter(blocks.values())).identity_at_init else 0.5
        assert torch.equal(after, share * before(standing))


@pytest.mark.parametrize("name", FITTED)
def test_logits_of_the_whole_network_do_not_change(name: str) -> None:
    torch.manual_seed(3)
    plain = build_backbone(name, 7, NETWORKS[name]).network.eval()
    backbone = build_backbone(name, 7, NETWORKS[name])
    insert(backbone, [Insertion("nonlocal", list(places(name)))])
    backbone.network.eval().load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        if name == X3D:  # its head is made for clips of one size
            x = torch.randn(1, 3, 5, 33, 33)
            assert torch.equal(backbone.network(x), plain(x))
        else:
            assert torch.equal(backbone.network(clip()), plain(clip()))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_channels_of_every_stage_are_found(name: str) -> None:
    """Against a real forward, on a clip of another size."""
    options = {"width": 8} if "width" in backbone_options(name) else {}
    backbone = build_backbone(name, 7, options)
    paths = [path for paths in backbone.stages.values() for path in paths]
    found: dict[str, int] = {}
    for path in paths:
        hook = lambda module, inputs, output, path=path: found.update({path: output.shape[1]})  # noqa: E731  # binds path
        backbone.network.get_submodule(path).register_forward_hook(hook)
    with torch.no_grad():
        backbone.network.eval()(torch.randn(1, 3, 5, 17, 19))
    assert output_channels(backbone.network, paths) == found
    assert len(found) == len(paths)


def r3d(*insertions: Insertion) -> ClipClassifier:
    torch.manual_seed(3)
    return ClipClassifier("r3d_18", 7, list(insertions))


def test_a_place_has_one_name_however_it_is_given() -> None:
    network = r3d(Insertion("snl", ["layer3.0", "res5", "stem.0"]), Insertion("gc", {"res4": [1]}))
    assert list(network.blocks) == ["stem.0", "res4.0", "res4.1", "res5.1"]
    for name, path in (("stem.0", "stem.0"), ("res4.0", "layer3.0"), ("res4.1", "layer3.1"), ("res5.1", "layer4.1")):
        assert network.network.get_submodule(path).block is network.blocks[name]
    with pytest.raises(UserError, match=r"two blocks are placed after res4\.1; name it once"):
        r3d(Insertion("snl", ["layer3.1"]), Insertion("gc", {"res4": [1]}))


def test_blocks_after_a_module_and_after_one_within_it() -> None:
    plain = r3d().eval()
    network = r3d(
        Insertion("nonlocal", ["layer3", "layer3.1"]), Insertion("asymmetric_fusion", ["layer4"], low="layer3.1")
    )
    assert list(network.blocks) == ["res4.1", "layer3", "layer4"]
    network.network.load_state_dict(plain.network.state_dict(), strict=False)
    assert [key for key in network.network.state_dict() if ".block." not in key] == list(plain.network.state_dict())
    assert torch.equal(network.eval()(clip()), plain(clip()))
    again = ClipClassifier.from_settings(network.settings)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(clip()), plain(clip()))
    # The fusion reads what leaves layer3.1, its block included, and not what leaves layer3.
    nn.init.normal_(network.blocks["res4.1"].norm.weight)
    nn.init.normal_(network.blocks["layer3"].norm.weight)
    seen: list[Tensor] = []
    network.blocks["res4.1"].register_forward_hook(lambda *ran: seen.append(ran[2]))
    network.blocks["layer4"].register_forward_hook(lambda *ran: seen.append(ran[1][1]))
    network(clip())
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Insertion("gc", ["layer7"]), ["'layer7'", "res2, res3, res4, res5", "the network holds: stem, layer1"]),
        (Insertion("gc", ["layer3.7"]), ["'layer3.7'", "layer3 holds: 0, 1"]),
        (Insertion("gc", ["res4.7"]), ["residual 7 of res4 does not exist", "0 to 1"]),
        (Insertion("gc", ["fc"]), ["no block can follow fc", "(1, 7)", "(B, C, T, H, W)"]),
        (Insertion("asymmetric_fusion", ["layer2"], low="layer3.0"), ["'layer3.0'", "before layer2"]),
        (Insertion("asymmetric_fusion", ["layer2"], low="layer8"), ["'layer8'"]),
    ],
)
def test_mistakes_say_what_exists(given: Insertion, told: list[str]) -> None:
    with torch.device("meta"), pytest.raises(UserError) as caught:
        r3d(given)
    for words in told:
        assert words in str(caught.value)


def test_a_module_that_does_not_run_takes_no_block() -> None:
    backbone = build_backbone("r3d_18", 7)
    backbone.network.spare = nn.Conv3d(3, 5, 1)
    with pytest.raises(UserError, match="no block can follow spare: the network does not run it"):
        insert(backbone, [Insertion("gc", ["spare"])])


def test_options_and_stages_travel_with_the_settings() -> None:
    stages = {"late": ["blocks.3.res_blocks.0", "blocks.4"]}
    network = ClipClassifier(X3D, 7, [Insertion("gc", {"late": [1]})], backbone_options=X3D_OPTIONS, stages=stages)
    assert list(network.blocks) == ["late.1"]
    again = ClipClassifier.from_settings(network.settings)
    assert again.settings == network.settings
    again.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 5, 33, 33)
    assert torch.equal(again.eval()(x), network.eval()(x))


def test_settings_of_earlier_checkpoints_still_build() -> None:
    earlier = {"backbone": "i3d_r50", "num_classes": 7, "blocks": [], "width": 4, "dropout": 0.5}
    network = ClipClassifier.from_settings(earlier)
    assert network.network.blocks[0].conv.out_channels == 4


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("r3d_18", {"width": 16}, ["unknown option 'width' of backbone 'r3d_18'", "none"]),
        ("i3d_inception", {"width": 16}, ["'width'", "dropout"]),
        ("s3d", {"dropout": 0.1, "backbone_options": {"dropout": 0.2}}, ["dropout is set twice", "0.1", "0.2"]),
        (X3D, {"width": 16}, [X3D, "width"]),
    ],
)
def test_width_and_dropout_are_for_backbones_that_have_them(
    name: str, arguments: dict[str, Any], told: list[str]
) -> None:
    with torch.device("meta"), pytest.raises(UserError) as caught:
        ClipClassifier(name, 7, **arguments)
    for words in told:
        assert words in str(caught.value)
