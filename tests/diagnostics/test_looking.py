"""Known attention has known figures, and every block is measured as its own weights say."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from videonl.blocks import BLOCKS, AttentionBlock, NonLocal
from videonl.diagnostics import looking as module
from videonl.diagnostics.looking import Asked, Attention, mean_attention, measure_attention
from videonl.errors import UserError

GRID, SIZE = (3, 5, 7), (6, 40, 56)
SECONDS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
ALL_CELLS = torch.tensor(list(product(*map(range, GRID))))
CASES: list[tuple[str, dict[str, Any]]] = [
    *(("nonlocal", {"pairwise": name}) for name in ("embedded_gaussian", "gaussian", "dot_product", "concatenation")),
    *(("nonlocal", {"reach": reach}) for reach in ("space", "time")),
    ("nonlocal", {"pairwise": "dot_product", "reach": "groups", "group_frames": 2}),
    *(("criss_cross", {"num_recurrences": count}) for count in (1, 2, 3)),
    ("axial", {}),
    ("asymmetric_pyramid", {"sizes": [(1, 1, 1), (2, 3, 2)]}),
    ("asymmetric_fusion", {"sizes": [(1, 1, 1), (2, 3, 2)]}),
    ("snl", {}),
    ("gc", {}),
]


def awake(block: AttentionBlock) -> AttentionBlock:
    generator = torch.Generator().manual_seed(3)
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return block.double().eval()


def features(block: AttentionBlock) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    sizes = [GRID, (3, 10, 14)] if block.takes_low else [GRID]
    return tuple(torch.randn(1, 11, *size, generator=generator, dtype=torch.float64) for size in sizes)


@pytest.fixture(params=CASES, ids=str)
def block(request: pytest.FixtureRequest) -> AttentionBlock:
    name, options = request.param
    return awake(BLOCKS[name](11, **options))


def measured(block: AttentionBlock, cells: Tensor = ALL_CELLS) -> Attention:
    found = measure_attention(block, "res3.1", features(block), cells, SIZE, SECONDS)
    assert found is not None
    return found


@torch.no_grad()
def naive_rows(block: AttentionBlock) -> list[tuple[tuple[int, ...], list[tuple[tuple[float, ...], float]]]]:
    """For each query cell that has weights: its keys' centers in frames and pixels, and their shares of the weight."""
    inputs = features(block)
    weights = block.attention(inputs[0], torch.arange(math.prod(GRID)), *inputs[1:])[0].abs()
    # Keys are cells of 2 frames and 8 x 8 px; pooled, two such cells, the fifth row and seventh column left out; of the
    # finer stage half of one.
    pitch = {3: (2, 8, 8), 2: (2, 16, 16), 10: (2, 4, 4)}[3 if weights.shape[2] == 5 else weights.shape[2]]
    keys = list(product(*map(range, weights.shape[1:])))
    rows = []
    for cell, row in zip(product(*map(range, GRID)), weights, strict=True):
        shares = [
            (tuple((at + 0.5) * step for at, step in zip(key, pitch, strict=True)), float(row[key] / row.sum()))
            for key in keys
        ]
        rows += [(cell, shares)] if row.any() else []
    return rows


def test_distances_and_shares_are_those_of_the_centers(block: AttentionBlock) -> None:
    found = measured(block).looking
    frames, px, same_frame = 0.0, 0.0, 0.0
    rows = naive_rows(block)
    for (t, y, x), row in rows:
        center = (2 * t + 1, 8 * y + 4, 8 * x + 4)
        for (key_t, key_y, key_x), weight in row:
            frames += weight * abs(key_t - center[0]) / len(rows)
            px += weight * math.hypot(key_y - center[1], key_x - center[2]) / len(rows)
            same_frame += weight * (key_t == center[0]) / len(rows)
    assert found.frames_away == pytest.approx(frames, rel=1e-9)
    assert found.seconds_away == pytest.approx(frames * 0.5, rel=1e-9)
    assert found.px_away == pytest.approx(px, rel=1e-9)
    assert found.itself + found.own_frame == pytest.approx(same_frame, rel=1e-9)
    assert sum(found[1:5]) == pytest.approx(1, rel=1e-9)


def test_parts_of_the_queries_give_the_same(block: AttentionBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(block)
    monkeypatch.setattr(module, "_AT_ONCE", 1000)
    parts = measured(block)
    torch.testing.assert_close(_flat(parts), _flat(whole), rtol=1e-9, atol=1e-12)


def _flat(found: Attention) -> Tensor:
    return torch.tensor([*found.looking, *found.even, *found[2:]], dtype=torch.float64)


def test_even_weights_are_what_alike_keys_get(block: AttentionBlock) -> None:
    inputs = features(block)
    queries = torch.arange(math.prod(GRID))
    keys = block.attention(inputs[0], queries[:1], *inputs[1:]).shape[2:]
    even = block.uniform_attention(inputs, queries, keys)
    assert even.shape == (1, len(queries), *keys)
    torch.testing.assert_close(even.sum(dim=(2, 3, 4)).double(), torch.ones(1, len(queries), dtype=torch.float64))
    if isinstance(block, NonLocal):  # alike over the keys in reach, as every key of some query is read
        read = block.attention(inputs[0], queries, *inputs[1:]) != 0
        assert (even.count_nonzero(dim=(2, 3, 4)) >= read.sum(dim=(2, 3, 4))).all()
        heights = torch.where(even == 0, even.amax(dim=(2, 3, 4), keepdim=True), even)
        assert torch.allclose(heights, heights[..., :1, :1, :1])


def test_reach_is_known_to_even_attention() -> None:
    for options in ({"reach": "space"}, {"reach": "space", "pairwise": "dot_product"}):
        even = measured(awake(NonLocal(11, **options))).even  # type: ignore[arg-type]  # options of any kind
        assert even.itself + even.own_frame == pytest.approx(1)
        assert even.entropy == pytest.approx(math.log(2 * 3) / math.log(3 * 2 * 3))  # pooled to 3 x 2 x 3 keys
    tube = measured(awake(NonLocal(11, reach="time"))).even
    assert (tube.itself, tube.own_place) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_hops_over_alike_keys_read_everything_evenly_along_axes_one_by_one() -> None:
    even = measured(awake(BLOCKS["axial"](11))).even
    assert even.entropy == pytest.approx(1)
    assert even.itself == pytest.approx(1 / math.prod(GRID))


def test_global_context_reads_the_same_for_every_query_and_se_has_no_attention() -> None:
    assert measured(awake(BLOCKS["gc"](11))).query_distance == pytest.approx(0, abs=1e-12)
    assert not BLOCKS["se"](11).weighs_positions
    assert BLOCKS["gc"](11).weighs_positions


def test_negative_weights_are_counted_by_size() -> None:
    block = awake(NonLocal(11, pairwise="dot_product"))
    weights = block.attention(features(block)[0], torch.arange(math.prod(GRID)))[0].flatten(1).detach()
    naive = (weights.clamp(max=0).abs().sum(dim=1) / weights.abs().sum(dim=1)).mean()
    assert measured(block).negative == pytest.approx(float(naive), rel=1e-9)


def test_queries_without_weights_are_left_out_and_counted() -> None:
    block = awake(NonLocal(11, pairwise="concatenation"))
    assert isinstance(block, NonLocal)
    weights = block.attention(features(block)[0], torch.arange(math.prod(GRID)))[0].flatten(1).detach()
    silent = float((weights.sum(dim=1) == 0).double().mean())
    assert measured(block).silent == pytest.approx(silent)
    assert block.concat is not None
    block.concat.data.zero_()  # ReLU of nothing but zeros
    assert measure_attention(block, "res3.1", features(block), ALL_CELLS, SIZE, SECONDS) is None


def test_seconds_follow_the_frames_of_a_video_of_uneven_rate() -> None:
    asked = Asked(torch.tensor([[0, 0, 0]]), (3, 1, 1), (3, 1, 1), (3, 1, 1), (0.0, 1.0, 5.0))
    weights = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64).reshape(1, 1, 3, 1, 1)
    frames, seconds, px = asked.look(weights)[0, -3:].tolist()
    assert (frames, seconds, px) == (pytest.approx(1.25), pytest.approx(0.25 + 2.5), 0)


def test_weights_that_are_no_numbers_are_refused() -> None:
    block = awake(NonLocal(11))
    block.theta.weight.data.fill_(math.nan)
    with pytest.raises(UserError, match=r"res3\.1.*not finite"):
        measured(block)


def test_means_over_clips_count_those_that_are_silent_altogether() -> None:
    found = measured(awake(NonLocal(11, pairwise="concatenation")))
    mean = mean_attention([found, found], num_silent=1)
    assert mean.looking == pytest.approx(found.looking)
    assert mean.silent == pytest.approx((2 * found.silent + 1) / 3)
