"""What does not fit or cannot be known is refused, and named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from torch import Tensor, nn

from videonl.backbones import BACKBONES, Backbone
from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.conversion import Layout, Stated, convert

UNSTATED = Stated()
NAMED = Stated(backbone="c2d_r50", strides=(1, 1))
BLOCK = "s3.pathway0_nonlocal1"


@pytest.fixture(scope="module")
def whole_state() -> dict[str, Tensor]:
    return ClipClassifier("i3d_r50", 7, width=4).network.state_dict()


@pytest.fixture
def state(whole_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A small I3D under pytorchvideo's names, whose keys a test may change."""
    return dict(whole_state)


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """The message with which a file is refused; it names the file."""

    def convert_and_catch(content: Any, layout: Layout, stated: Stated = UNSTATED) -> str:
        path = tmp_path / "file.pth"
        torch.save(content, path)
        with pytest.raises(UserError) as caught:
            convert(path, layout, stated)
        assert str(path) in str(caught.value)
        return str(caught.value)

    return convert_and_catch


def test_left_overs_of_either_side_and_shapes_are_all_named(state, refusal) -> None:
    state["blocks.1.res_blocks.0.se.weight"] = torch.zeros(3)
    state["extra"] = torch.zeros(3)
    del state["blocks.3.res_blocks.2.branch2.norm_b.running_var"]
    state["blocks.4.res_blocks.5.branch2.conv_c.weight"] = torch.zeros(5, 3, 1, 1, 1)
    text = refusal(state, "pytorchvideo")
    assert "2 left over in the file: blocks.1.res_blocks.0.se.weight, extra" in text
    assert "1 missing in the file: blocks.3.res_blocks.2.branch2.norm_b.running_var" in text
    assert "conv_c.weight is (5, 3, 1, 1, 1), not (64, 16, 1, 1, 1)" in text


def test_a_checkpoint_of_another_layout_is_refused_in_a_few_words(state, refusal) -> None:
    text = refusal({"model_state": state}, "slowfast", Stated(backbone="i3d_r50"))
    assert "the file's names are those of pytorchvideo: --from pytorchvideo" in text
    assert len(text) < 300
    text = refusal({"model_state": {f"my.{key}": state[key] for key in state}}, "slowfast", Stated(backbone="i3d_r50"))
    assert "none of its keys is one of this layout" in text
    assert len(text) < 400
    assert "no tensors by name under 'state_dict'" in refusal({"model_state": {"a": 3}}, "mmaction2")
    assert "(0, 0, 0, 0) residuals" in refusal({"a": torch.zeros(3)}, "pytorchvideo")


def test_no_head_is_no_fault_and_half_a_head_is(state, refusal, tmp_path: Path) -> None:
    without = {key: value for key, value in state.items() if "proj" not in key}
    torch.save(without, tmp_path / "trunk.pth")
    weights = convert(tmp_path / "trunk.pth", "pytorchvideo")
    assert weights.network["num_classes"] is None
    assert weights.state.keys() == without.keys()
    with pytest.raises(UserError, match="no classifier: train one with"):
        weights.build()
    half = {**without, "blocks.6.proj.weight": state["blocks.6.proj.weight"]}
    assert "missing in the file: blocks.6.proj.bias" in refusal(half, "pytorchvideo")


def test_old_norms_without_counters_are_complete(state, tmp_path: Path) -> None:
    torch.save({key: value for key, value in state.items() if "num_batches" not in key}, tmp_path / "old.pth")
    assert convert(tmp_path / "old.pth", "pytorchvideo").state.keys() == state.keys()


def test_parallel_training_prefixes_are_dropped(state, tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "ddp.pth")
    assert convert(tmp_path / "ddp.pth", "pytorchvideo").state.keys() == state.keys()


def test_mmaction2_strides_are_never_guessed(refusal) -> None:
    text = refusal({"state_dict": {"backbone.conv1.conv.weight": torch.zeros(3)}}, "mmaction2")
    assert "--backbone (i3d_* for ResNet3d" in text
    assert "--strides (conv1_stride_t,pool1_stride_t of its configuration: 2,2 for its I3D" in text


def slowfast_state(block: bool = True) -> dict[str, Tensor]:
    """The few weights that it takes to be recognized."""
    stages = {2: 3, 3: 4, 4: 6, 5: 3}
    state = {
        f"s{stage}.pathway0_res{index}.branch2.a.weight": torch.zeros(1, 1, 1, 1, 1)
        for stage in stages
        for index in range(stages[stage])
    }
    state["s1.pathway0_stem.conv.weight"] = torch.zeros(4, 3, 1, 7, 7)
    names = ("conv_theta", "conv_phi", "conv_g", "conv_out", "bn")
    return state | ({f"{BLOCK}.{name}.weight": torch.zeros(4, 8, 1, 1, 1) for name in names} if block else {})


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("MODEL", "ARCH", "i3d_nopool", "MODEL.ARCH i3d_nopool has no counterpart; c2d, i3d, slow, slowfast have"),
        (
            "RESNET",
            "STRIDE_1X1",
            True,
            "RESNET.STRIDE_1X1 is True in the file's configuration; videonl's ResNets have False",
        ),
        ("RESNET", "NUM_GROUPS", 32, "RESNET.NUM_GROUPS is 32"),
        ("DATA", "REVERSE_INPUT_CHANNEL", True, "DATA.REVERSE_INPUT_CHANNEL is True"),
        ("NONLOCAL", "GROUP", [[1], [2], [1], [1]], "NONLOCAL.GROUP is [[1], [2], [1], [1]]"),
        ("NONLOCAL", "INSTANTIATION", "laplace", "NONLOCAL.INSTANTIATION laplace has no counterpart"),
        ("NONLOCAL", "POOL", [[[2, 2, 2]]] * 4, "NONLOCAL.POOL [2, 2, 2] has no counterpart"),
    ],
)
def test_slowfast_networks_that_ours_are_not(refusal, section: str, key: str, value: Any, expected: str) -> None:
    config = {"MODEL": {"ARCH": "c2d"}}
    config.setdefault(section, {})[key] = value
    content = {"model_state": slowfast_state(), "cfg": yaml.safe_dump(config)}
    assert expected in refusal(content, "slowfast")


def test_slowfast_without_its_configuration(refusal) -> None:
    content = {"model_state": slowfast_state()}
    assert "--backbone (c2d_r50, i3d_r50 or slow_r50" in refusal(content, "slowfast")
    text = refusal(content, "slowfast", Stated(backbone="c2d_r50"))
    assert "--pairwise (by NONLOCAL.INSTANTIATION)" in text
    assert "--subsample" in text


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({}, "SLOWFAST.ALPHA is 8 in the file's configuration; videonl has 4"),
        ({"ALPHA": 4, "BETA_INV": 4}, "SLOWFAST.BETA_INV is 4 in the file's configuration; videonl has 8"),
    ],
)
def test_pathways_that_ours_are_not(refusal, section: dict[str, int], told: str) -> None:
    state = {"s1.pathway0_stem.conv.weight": torch.zeros(3), "s1.pathway1_stem.conv.weight": torch.zeros(3)}
    config = yaml.safe_dump({"MODEL": {"ARCH": "slowfast"}, "SLOWFAST": section})
    assert told in refusal({"model_state": state, "cfg": config}, "slowfast")
    text = refusal({"model_state": state}, "slowfast")
    assert "--backbone (slowfast_r50, slowfast_r101, slowfast_16x8_r101_50_50, for SLOWFAST.ALPHA 4 alone)" in text


def test_slowfast_block_without_batch_norm_is_refused(refusal) -> None:
    state = {key: value for key, value in slowfast_state().items() if ".bn." not in key}
    stated = Stated(backbone="c2d_r50", pairwise="dot_product", subsample=True)
    assert "the non-local block after res3.1 has no batch norm" in refusal({"model_state": state}, "slowfast", stated)


def test_unknown_backbone_and_impossible_stem(state, refusal) -> None:
    assert "unknown backbone 'i3d_r49'" in refusal(state, "pytorchvideo", Stated(backbone="i3d_r49"))
    with pytest.raises(UserError, match="strides must be at least 1, got 0"):
        Stated(strides=(1, 0))


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (
            Stated(pairwise="dot_product"),
            "--pairwise dot_product: the block after res3.1 of the file has embedded_gaussian",
        ),
        (Stated(scale=False), "--scale False: the block after res3.1 of the file has True"),
        (Stated(subsample=False), "--subsample False: the block after res3.1 of the file has True"),
        (Stated(pool_padding=0), "--pool_padding 0 contradicts this layout, which has 1"),
    ],
)
def test_what_the_file_knows_otherwise_is_not_passed_over(refusal, stated: Stated, expected: str) -> None:
    config = yaml.safe_dump({"MODEL": {"ARCH": "c2d"}, "NONLOCAL": {"INSTANTIATION": "softmax"}})
    assert expected in refusal({"model_state": slowfast_state(), "cfg": config}, "slowfast", stated)


def test_weights_for_another_kind_of_network(refusal, state, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(num_classes: int, width: int = 64, dropout: float = 0.5) -> Backbone:
        return Backbone(nn.Conv3d(3, num_classes, 1), {})

    monkeypatch.setitem(BACKBONES, "plain", plain)
    text = refusal(state, "pytorchvideo", Stated(backbone="plain"))
    assert "unknown option 'stride_profile' of backbone 'plain'" in text
    image = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    assert "the weights of a ResNet, which do not fit plain" in refusal(image, "torchvision", Stated(backbone="plain"))
    strides = Stated(backbone="plain", strides=(2, 2))
    assert "--strides is for the stem of a ResNet" in refusal({"weight": torch.zeros(3)}, "torchvision", strides)


@pytest.mark.parametrize("shape", [(), (3,), (4, 3, 7)])
def test_odd_shapes_are_no_crash(refusal, state, shape: tuple[int, ...]) -> None:
    state["blocks.0.conv.weight"] = torch.zeros(shape)
    refusal(state, "pytorchvideo")
    content = {"model_state": {**slowfast_state(), f"{BLOCK}.conv_g.weight": torch.zeros(shape)}}
    refusal(content, "slowfast", Stated(backbone="c2d_r50", pairwise="dot_product", subsample=True))


@pytest.mark.parametrize(
    ("keys", "layout", "told"),
    [
        ("backbone.layers.0.blocks.0.attn.relative_position_bias_table", "mmaction2", "a Video Swin Transformer"),
        ("backbone.transformer_layers.layers.0.attentions.0.temporal_fc.weight", "mmaction2", "a TimeSformer"),
        ("model.blocks.0.temporal_attn.qkv.weight", "slowfast", "a TimeSformer"),
        ("blocks.0.attn.pool_q.weight", "slowfast", "an MViT"),
        ("encoder.blocks.0.attn.q_bias", "pytorchvideo", "a VideoMAE transformer"),
        ("backbone.layer1.0.conv1.conv.net.weight", "mmaction2", "a TSM network"),
        ("base_model.layer1.0.conv1.net.weight", "torchvision", "a TSM network"),
        ("base_model.conv1.weight", "torchvision", "a TSN or TSM network"),
        ("backbone.layer1.0.tam.G.0.weight", "mmaction2", "a TANet"),
        ("neck.lateral_convs.0.conv.weight", "mmaction2", "a TPN"),
        ("roi_head.bbox_head.fc_cls.weight", "mmaction2", "a detector of actions in boxes"),
        ("backbone.slow_path.conv1.conv.weight", "mmaction2", "SlowFast network of mmaction2"),
        ("head.lin_5.weight", "slowfast", "an X3D of PySlowFast"),
        ("backbone.conv1_s.conv.weight", "mmaction2", "an X3D of mmaction2"),
        ("backbone.conv3a.conv.weight", "mmaction2", "a C3D"),
        ("mixed_3b.gating_b0.fc.weight", "torchvision", "an S3D with gates"),
        ("features.denseblock1.denselayer1.conv1.weight", "kenshohara", "a DenseNet"),
    ],
)
def test_networks_that_are_not_read_are_named_with_what_is(refusal, keys: str, layout: Layout, told: str) -> None:
    hub = told.endswith(("of mmaction2", "of PySlowFast")) and "TSM" not in told
    for name in ("state_dict", "model_state"):
        text = refusal({name: {keys: torch.zeros(3), "other.weight": torch.zeros(3)}}, layout, NAMED)
        assert told in text and "which videonl does not read; it reads, with --from" in text
        assert f"--from {'pytorchvideo: C2D, I3D, Slow, SlowFast, X3D' if hub else layout}" in text
        assert "other.weight" not in text
        assert len(text) < 400


@pytest.mark.parametrize(("name", "told"), [("mvit_v2_s", "an MViT"), ("swin3d_t", "a Video Swin Transformer")])
def test_transformers_of_torchvision_are_named(refusal, name: str, told: str) -> None:
    from torchvision.models import video

    with torch.device("meta"):
        state = dict.fromkeys(getattr(video, name)().state_dict(), torch.zeros(3))
    assert f"the file holds {told}, which videonl does not read" in refusal(state, "torchvision")


@pytest.mark.parametrize(
    ("depthwise", "told"), [(True, "a channel-separated network (CSN) of mmaction2"), (False, "a 3D ResNeXt")]
)
def test_networks_told_by_their_shapes_are_named(refusal, depthwise: bool, told: str) -> None:
    if depthwise:
        state = {"backbone.layer1.0.conv2.0.conv.weight": torch.zeros(8, 1, 3, 3, 3)}
    else:
        state = {
            "layer1.0.conv2.weight": torch.zeros(8, 4, 3, 3, 3),
            "layer1.0.conv3.weight": torch.zeros(8, 8, 1, 1, 1),
        }
    assert told in refusal({"state_dict": state}, "mmaction2" if depthwise else "kenshohara", NAMED)


@pytest.mark.parametrize(
    ("key", "shape", "whose", "layout"),
    [
        ("s1.pathway0_stem.conv.weight", (3,), "slowfast", "mmaction2"),
        ("blocks.0.conv.weight", (3,), "pytorchvideo", "mmaction2"),
        ("backbone.conv1.conv.weight", (3,), "mmaction2", "slowfast"),
        ("Conv3d_1a_7x7.conv3d.weight", (3,), "i3d-inception", "torchvision"),
        ("layer1.0.conv1.0.weight", (3,), "torchvision", "kenshohara"),
        ("conv1.weight", (4, 3, 7, 7), "torchvision", "kenshohara"),
        ("conv1.weight", (4, 3, 7, 7, 7), "kenshohara", "pytorchvideo"),
    ],
)
def test_a_file_of_another_project_is_told_by_its_names(
    refusal, key: str, shape: tuple[int, ...], whose: str, layout: Layout
) -> None:
    state = {f"module.{key}": torch.zeros(shape), "module.layer1.0.bn2.weight": torch.zeros(3)}
    assert f"the file's names are those of {whose}: --from {whose}" in refusal({"state_dict": state}, layout, NAMED)


def test_every_layout_is_known() -> None:
    with pytest.raises(UserError, match="unknown layout 'keras'"):
        convert(Path("nothing"), "keras")
    assert len(get_args(Layout)) == 10
