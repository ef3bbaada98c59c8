"""Stems with other strides: what they compute, by convolutions and pools written down."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from videonl.backbones import BACKBONES, Stem, read_stem, set_stem
from videonl.errors import UserError
from videonl.models import ClipClassifier

STEMS = [Stem(), Stem(2, 2), Stem(2, 2, 2, 0), Stem(1, 1, 1, 0)]


@pytest.mark.parametrize("stem", STEMS, ids=str)
@pytest.mark.parametrize("name", ["c2d_r50", "i3d_r50"])
def test_stem_computes_what_it_says(name: str, stem: Stem) -> None:
    network = ClipClassifier(name, 7, width=4, stem=stem).network.eval()
    first = network.blocks[0]
    clip = torch.randn(2, 3, 11, 29, 31)
    kernel = first.conv.weight.shape[2]
    x = F.conv3d(clip, first.conv.weight, stride=(stem.temporal_stride, 2, 2), padding=(kernel // 2, 3, 3))
    x = F.relu(F.batch_norm(x, first.norm.running_mean, first.norm.running_var, first.norm.weight, first.norm.bias))
    padding = (0, stem.pool_padding_px, stem.pool_padding_px)
    x = F.max_pool3d(x, (stem.pool_temporal_kernel, 3, 3), (stem.pool_temporal_stride, 2, 2), padding)
    assert torch.allclose(first(clip), x, atol=1e-6)


@pytest.mark.parametrize("stem", STEMS, ids=str)
def test_stem_is_read_as_it_was_set(stem: Stem) -> None:
    network = BACKBONES["i3d_r50"](7, width=4).network
    assert read_stem(network) == Stem()
    set_stem(network, stem)
    assert read_stem(network) == stem


def test_the_long_i3d_keeps_an_eighth_of_the_frames() -> None:
    long = ClipClassifier("i3d_r50", 7, width=4, stem=Stem(2, 2)).eval()
    seen = []
    long.network.blocks[5].register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2]))
    long(torch.randn(1, 3, 32, 33, 33))
    assert seen == [4]


def test_settings_rebuild_the_stem() -> None:
    classifier = ClipClassifier("c2d_r50", 7, width=4, stem=Stem(2, 2))
    assert classifier.settings["stem"] == vars(Stem(2, 2))
    assert read_stem(ClipClassifier.from_settings(classifier.settings).network) == Stem(2, 2)
    before = {key: value for key, value in classifier.settings.items() if key != "stem"}
    assert read_stem(ClipClassifier.from_settings(before).network) == Stem()


def test_networks_without_such_a_stem_have_none() -> None:
    assert read_stem(nn.Conv3d(3, 5, 1)) is None
    with pytest.raises(UserError, match="is for the ResNets"):
        set_stem(nn.Conv3d(3, 5, 1), Stem())


@pytest.mark.parametrize("values", [{"temporal_stride": 0}, {"pool_temporal_kernel": 0}, {"pool_padding_px": 2}])
def test_impossible_stems_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        Stem(**values)
