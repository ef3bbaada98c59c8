"""Both sides of a whole network are the same network, and its operations are counted as published."""

from dataclasses import replace

import pytest
import torch

from videonl.backbones.rewrites import FrameConv3d
from videonl.benchmarks import network_comparison
from videonl.benchmarks.measure import Measurement
from videonl.benchmarks.network_comparison import NetworkRow
from videonl.benchmarks.networks import NetworkSetting, Subject, build, flops
from videonl.benchmarks.rounds import Rounds

TINY = NetworkSetting("c2d_r50", clips=(2, 3, 4, 33, 37), width=4)


def test_sides_share_weights_and_nothing_else() -> None:
    ours, plain = build("ours", TINY), build("plain", TINY)
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in ours.state_dict().items())
    assert not any(isinstance(module, FrameConv3d) for module in plain.modules())
    assert any(isinstance(module, FrameConv3d) for module in ours.modules())


@pytest.mark.parametrize("subsample", [True, False])
def test_both_sides_say_the_same(subsample: bool) -> None:
    setting = replace(TINY, subsample=subsample, keep_memory=False)
    ours, plain = Subject("ours", setting), Subject("plain", setting)
    assert plain.logits().std() > 1e-4
    torch.testing.assert_close(ours.logits(), plain.logits(), rtol=1e-3, atol=1e-5)


def test_operations_are_those_published() -> None:
    clip = NetworkSetting(clips=(1, 3, 8, 224, 224))
    backbone = flops(replace(clip, blocks=False)) / 2e9
    # The published 28.54 counts norms and pools too; these are a two-hundredth.
    assert backbone == pytest.approx(28.54, rel=5e-3) and backbone < 28.54
    # Four projections, and affinities and sums over 784 or 196 keys.
    of_res3 = 4 * 3136 * 512 * 256 + 2 * 3136 * 784 * 256
    of_res4 = 4 * 784 * 1024 * 512 + 2 * 784 * 196 * 512
    assert flops(clip) / 2e9 - backbone == pytest.approx((2 * of_res3 + 3 * of_res4) / 1e9, rel=1e-6)
    assert flops(replace(clip, clips=(3, 3, 8, 224, 224))) == 3 * flops(clip)


def test_rates_and_shares() -> None:
    row = NetworkRow(TINY, Measurement(20.0, 50.0, 3.0), Measurement(70.0, 110.0, 33.0), flops=10**9, matmul_rate=1e11)
    assert (row.ratio("forward_ms"), row.ratio("step_ms"), row.ratio("peak_mib")) == (3.5, 2.2, 11)
    assert row.clips_per_second("ours") == pytest.approx({"forward": 100, "step": 40})
    assert row.share_of_matmul_rate("ours") == pytest.approx({"forward": 0.5, "step": 0.6})
    line = row.as_json()
    assert line["ours"] == {"forward_ms": 20, "step_ms": 50, "peak_mib": 3}
    assert (line["ratio_forward"], line["ratio_step"], line["ratio_memory"]) == (3.5, 2.2, 11)


def test_a_ratio_that_another_run_would_not_confirm_is_not_shown() -> None:
    rounds = {"step": Rounds((2.0, 2.0, 2.0), (2.0, 7.0, 29.0))}
    row = NetworkRow(TINY, Measurement(20.0, 2.0, 3.0), Measurement(70.0, 7.0, 33.0), 10**9, 1e11, rounds)
    assert (row.ratio("forward_ms"), row.ratio("step_ms"), row.ratio("peak_mib")) == (3.5, None, 11)
    assert row.as_json()["unstable"] == {"step": True}
    assert list(network_comparison.network_table(row).columns[1].cells) == ["unstable", "3.50x", "11.00x"]


def test_other_numbers_are_refused() -> None:
    answers = {"ours": torch.ones(2, 7), "plain": torch.full((2, 7), 1.1)}
    with pytest.raises(RuntimeError, match=r"c2d_r50_nonlocal5 and its plain form differ by 9\.1e-02"):
        network_comparison._check(answers["ours"], answers["plain"], TINY)
