"""Weights into a configured network: what differs is refused or said."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.models.checkpoints import load_trained, read_weights
from videonl.models.transfer import load_into
from videonl.models.weights import Weights

MMACTION2 = {"stride_profile": "mmaction2"}
CLIP = {"mean": (0.45,) * 3, "std": (0.225,) * 3, "num_frames": 8, "stride_frames": 8, "crop_px": 224}
NONLOCAL = Insertion("nonlocal", {"res3": [1], "res4": [2]}, {"pool_order": "pre", "scale": True})


def classifier(
    blocks: list[Insertion] | None = None, num_classes: int = 7, seed: int = 3, **options: Any
) -> ClipClassifier:
    torch.manual_seed(seed)
    return ClipClassifier("i3d_r50", num_classes, blocks, width=4, dropout=0.0, **options)


def weights_of(network: ClipClassifier, **changes: Any) -> Weights:
    return replace(Weights(network.network.state_dict(), "theirs.pt", network.settings, clip=CLIP), **changes)


@pytest.fixture
def refusal() -> Callable[..., str]:
    """The message with which weights are refused; none of them is loaded."""

    def load_and_catch(network: ClipClassifier, weights: Weights, **options: Any) -> str:
        before = {key: value.clone() for key, value in network.state_dict().items()}
        with pytest.raises(UserError) as caught:
            load_into(network, weights, **options)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        return str(caught.value)

    return load_and_catch


def test_the_same_network_gets_every_weight() -> None:
    source, target = classifier([NONLOCAL]), classifier([NONLOCAL], seed=5)
    (said,) = load_into(target, weights_of(source), CLIP)
    assert said == f"{len(source.network.state_dict())} of {len(source.network.state_dict())} weights from theirs.pt"
    clip = torch.randn(2, 3, 5, 37, 41)
    assert torch.equal(target.eval()(clip), source.eval()(clip))


def test_a_head_that_averages_otherwise_is_said_and_loads() -> None:
    source, target = classifier(backbone_options={"head": "windows_softmax"}), classifier(seed=5)
    *_, said = load_into(target, weights_of(source), CLIP)
    assert "set model.network.init_args.backbone_options.head to windows_softmax" in said
    assert torch.equal(target.network.blocks[6].proj.weight, source.network.blocks[6].proj.weight)
    *_, said = load_into(classifier(num_classes=5), weights_of(source), CLIP)  # a new head is its own
    assert "backbone_options.head" not in said


@pytest.mark.parametrize("headless", [False, True])
def test_another_head_is_new_and_said(headless: bool) -> None:
    source, target = classifier(), classifier(num_classes=5, seed=5)
    fresh = target.network.blocks[6].proj.weight.clone()
    weights = weights_of(source)
    if headless:
        state = {key: value for key, value in weights.state.items() if ".proj." not in key}
        weights = replace(weights, state=state, network={**source.settings, "num_classes": None})
    said = load_into(target, weights, CLIP)
    why = "theirs.pt has none" if headless else "theirs.pt has one for 7 classes"
    assert f"the head is newly initialized, for 5 classes: {why}" in said
    assert torch.equal(target.network.blocks[6].proj.weight, fresh)
    assert torch.equal(target.network.blocks[0].conv.weight, source.network.blocks[0].conv.weight)


def test_blocks_that_the_weights_lack_start_as_the_identity_and_are_said() -> None:
    source = classifier()
    target = classifier([NONLOCAL, Insertion("se", {"res5": [0]})], seed=5)
    (_, said) = load_into(target, weights_of(source), CLIP)
    assert said == (
        "blocks that the weights do not have are newly initialized as the identity: res3.1, res4.2, res5.0; "
        "not the identity by design: res5.0"
    )
    only_nonlocal = classifier([NONLOCAL], seed=5)
    load_into(only_nonlocal, weights_of(source), CLIP)
    clip = torch.randn(2, 3, 5, 37, 41)
    assert torch.equal(only_nonlocal.eval()(clip), source.eval()(clip))


def test_weights_that_the_network_lacks_are_refused(refusal) -> None:
    text = refusal(classifier(), weights_of(classifier([NONLOCAL])))
    assert "the network has no blocks.3.res_blocks.1.block.theta.weight" in text
    assert "blocks.4.res_blocks.2.block.out.bias" in text


def test_part_of_a_block_and_another_width_are_refused(refusal) -> None:
    weights = weights_of(classifier([NONLOCAL]))
    state = {key: value for key, value in weights.state.items() if not key.endswith("1.block.g.bias")}
    text = refusal(classifier([NONLOCAL]), replace(weights, state=state))
    assert "blocks.3.res_blocks.1.block.g.bias is missing in the file" in text
    wide = ClipClassifier("i3d_r50", 7, width=6)
    assert "blocks.0.conv.weight is (4, 3, 5, 7, 7) in the file and (6, 3, 5, 7, 7)" in refusal(
        wide, weights_of(classifier())
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"pool_order": "post", "scale": True}, "set {pool_order: pre} for it"),
        ({"pool_order": "pre"}, "set {scale: True} for it"),
        ({"pairwise": "dot_product", "pool_order": "pre"}, "set {pairwise: embedded_gaussian, scale: True} for it"),
        ({"pool_order": "pre", "scale": True, "reach": "space"}, "set {reach: spacetime} for it"),
    ],
)
def test_blocks_with_other_options_are_refused(refusal, options: dict[str, Any], expected: str) -> None:
    target = classifier([Insertion("nonlocal", {"res3": [1], "res4": [2]}, options)])
    text = refusal(target, weights_of(classifier([NONLOCAL])))
    assert "trained with other options" in text
    assert expected in text


def test_defaults_that_are_spelled_out_are_no_difference() -> None:
    spelled = Insertion(
        "nonlocal", NONLOCAL.after, {**NONLOCAL.options, "pairwise": "embedded_gaussian", "norm": "batch"}
    )
    assert len(load_into(classifier([spelled]), weights_of(classifier([NONLOCAL])), CLIP)) == 1


def test_another_stem_is_refused_and_the_right_one_named(refusal) -> None:
    source = classifier(backbone_options=MMACTION2)
    text = refusal(classifier(), weights_of(source))
    assert "init_args.backbone_options.stride_profile to {temporal_stride: 2, pool_temporal_stride: 2" in text
    same = classifier(backbone_options=MMACTION2, seed=5)
    assert len(load_into(same, weights_of(source))) == 1


def test_other_pixels_are_refused(refusal) -> None:
    images = {**CLIP, "mean": (0.485, 0.456, 0.406)}
    weights = weights_of(classifier(), clip=images)
    text = refusal(classifier(), weights, clip=CLIP)
    assert "set in data.clip {mean: [0.485, 0.456, 0.406]}" in text
    rounded = {**CLIP, "mean": (123.675 / 255, 116.28 / 255, 103.53 / 255)}
    assert len(load_into(classifier(), weights, rounded)) == 1


def test_other_sampling_is_said() -> None:
    said = load_into(classifier(), weights_of(classifier()), {**CLIP, "num_frames": 32, "stride_frames": 2})
    assert said[1] == "theirs.pt was trained on other clips: {num_frames: 8, stride_frames: 8}"


def test_license_is_said() -> None:
    assert "license of the weights: CC BY-NC" in load_into(classifier(), weights_of(classifier(), license="CC BY-NC"))


def test_one_block_goes_to_the_only_one(refusal) -> None:
    source = classifier([Insertion("nonlocal", {"res4": [2]})])
    block = source.blocks["res4.2"]
    weights = Weights(block.state_dict(), "block.pt", block={"block": "nonlocal", "options": {}})
    target = classifier([Insertion("nonlocal", {"res4": [2]})], seed=5)
    assert load_into(target, weights) == ["the block at res4.2 from block.pt; all other weights are new"]
    assert torch.equal(target.blocks["res4.2"].theta.weight, block.theta.weight)
    assert "exactly one to load it into, has none" in refusal(classifier(), weights)
    assert "has res3.1, res4.2" in refusal(classifier([NONLOCAL]), weights)
    scaled = classifier([Insertion("nonlocal", {"res4": [2]}, {"scale": True})])
    assert "set {scale: False}" in refusal(scaled, weights)
    elsewhere = classifier([Insertion("nonlocal", {"res3": [2]})])
    assert "theta.weight is (32, 64, 1, 1, 1) in the file and (16, 32, 1, 1, 1)" in refusal(elsewhere, weights)


def test_saved_weights_come_back_whole(tmp_path: Path) -> None:
    source = classifier([NONLOCAL], backbone_options=MMACTION2)
    weights = weights_of(source, license="CC BY-NC")
    path = tmp_path / "new" / "theirs.pt"
    weights.save(path)
    assert [each.name for each in path.parent.iterdir()] == ["theirs.pt"]
    again = read_weights(path)
    assert again.source == str(path)
    assert again.origin == weights.source
    assert {**vars(again), "state": 0, "source": 0} == {
        **vars(weights),
        "state": 0,
        "source": 0,
        "origin": again.origin,
    }
    trained = load_trained(path)
    assert trained.class_names == [f"class {index}" for index in range(7)]
    clip = torch.randn(2, 3, 9, 37, 41)
    assert torch.equal(trained.network(clip), source.eval()(clip))


def test_weights_of_another_format_are_refused(tmp_path: Path) -> None:
    torch.save({"videonl_weights": {"format": 2}, "state_dict": {}}, tmp_path / "later.pt")
    with pytest.raises(UserError, match="has format 2, but videonl reads 1"):
        read_weights(tmp_path / "later.pt")
    torch.save({"videonl_weights": {"format": 1, "color": 3}, "state_dict": {}}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match="neither a checkpoint of videonl fit nor weights of videonl convert"):
        read_weights(tmp_path / "odd.pt")
