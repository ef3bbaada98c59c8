"""Stems with other strides: what they compute, by convolutions and pools written down."""

from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from videonl.backbones import BACKBONES, Stem, as_stem, read_stem
from videonl.errors import UserError
from videonl.models import ClipClassifier

STEMS = [Stem(), Stem(2, 2), Stem(2, 2, 2, 0), Stem(1, 1, 1, 0)]


@pytest.mark.parametrize("stem", STEMS, ids=str)
@pytest.mark.parametrize("name", ["c2d_r50", "i3d_r50"])
def test_stem_computes_what_it_says(name: str, stem: Stem) -> None:
    network = BACKBONES[name](7, width=4, stride_profile=asdict(stem)).network.eval()
    first = network.blocks[0]
    clip = torch.randn(2, 3, 11, 29, 31)
    kernel = first.conv.weight.shape[2]
    x = F.conv3d(clip, first.conv.weight, stride=(stem.temporal_stride, 2, 2), padding=(kernel // 2, 3, 3))
    x = F.relu(F.batch_norm(x, first.norm.running_mean, first.norm.running_var, first.norm.weight, first.norm.bias))
    padding = (0, stem.pool_padding_px, stem.pool_padding_px)
    x = F.max_pool3d(x, (stem.pool_temporal_kernel, 3, 3), (stem.pool_temporal_stride, 2, 2), padding)
    assert torch.allclose(first(clip), x, atol=1e-6)


@pytest.mark.parametrize("stem", STEMS, ids=str)
def test_stem_is_read_as_it_was_built(stem: Stem) -> None:
    assert read_stem(BACKBONES["i3d_r50"](7, width=4).network) == Stem()
    assert read_stem(BACKBONES["i3d_r50"](7, width=4, stride_profile=asdict(stem)).network) == stem


@pytest.mark.parametrize(("profile", "stem"), [("long", Stem(2, 2, 2)), ({"pool_padding_px": 0}, Stem(1, 1, 1, 0))])
def test_settings_rebuild_the_stem(profile: str | dict[str, int], stem: Stem) -> None:
    classifier = ClipClassifier("c2d_r50", 7, width=4, backbone_options={"stride_profile": profile})
    assert read_stem(ClipClassifier.from_settings(classifier.settings).network) == stem


def test_networks_without_such_a_stem_have_none() -> None:
    assert read_stem(nn.Conv3d(3, 5, 1)) is None


def test_unknown_profiles_and_fields_are_refused() -> None:
    with pytest.raises(UserError, match="one of short, long, mmaction2; got 'longer'"):
        as_stem("longer")
    with pytest.raises(UserError, match="no 'stride'; it has: temporal_stride"):
        as_stem({"stride": 2})


@pytest.mark.parametrize("values", [{"temporal_stride": 0}, {"pool_temporal_kernel": 0}, {"pool_padding_px": 2}])
def test_impossible_stems_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        Stem(**values)
