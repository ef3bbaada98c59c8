"""Every measure against its formula, written out in loops."""

import math
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from videonl.diagnostics import measures

B, Q, KEYS = 2, 5, (3, 7, 11)
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def random_weights(seed: int = 0, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(*(shape or (B, Q, *KEYS)), generator=generator, dtype=torch.float64) * 3
    return logits.flatten(2).softmax(dim=2).reshape(logits.shape)


def each(weights: Tensor) -> list[tuple[int, int, list[tuple[tuple[int, ...], float]]]]:
    """For each clip and query the keys and their weights, as plain numbers."""
    cells = list(product(*map(range, weights.shape[2:])))
    return [
        (b, q, [(cell, float(weights[(b, q, *cell)])) for cell in cells])
        for b in range(weights.shape[0])
        for q in range(weights.shape[1])
    ]


def test_entropy() -> None:
    weights = random_weights()
    found = measures.entropy(weights)
    for b, q, row in each(weights):
        naive = -sum(weight * math.log(weight) for _, weight in row) / math.log(math.prod(KEYS))
        assert float(found[b, q]) == pytest.approx(naive, rel=1e-10)


def test_entropy_of_even_weights_is_one_and_of_one_key_zero() -> None:
    even = torch.full((1, 1, *KEYS), 1 / math.prod(KEYS), dtype=torch.float64)
    one = torch.zeros(1, 1, *KEYS, dtype=torch.float64)
    one[0, 0, 1, 2, 3] = 1
    assert float(measures.entropy(even)) == pytest.approx(1, rel=1e-12)
    assert float(measures.entropy(one)) == 0
    assert float(measures.entropy(torch.ones(1, 1, 1, 1, 1))) == 1


def test_distribution_takes_sizes_and_leaves_rows_of_zeros() -> None:
    weights = torch.tensor([[[-3.0, 1.0], [0.0, 0.0]]]).reshape(1, 2, 1, 1, 2)
    found = measures.distribution(weights)
    assert found.dtype == torch.float64
    assert found.flatten(2).tolist() == [[[0.75, 0.25], [0.0, 0.0]]]


def test_box_share_and_means() -> None:
    weights = random_weights(1)
    generator = torch.Generator().manual_seed(3)
    masks = [torch.rand(Q, size, generator=generator) < 0.5 for size in KEYS]
    of_frames = torch.rand(Q, KEYS[0], generator=generator, dtype=torch.float64)
    of_places = torch.rand(Q, *KEYS[1:], generator=generator, dtype=torch.float64)
    box = measures.box_share(weights, *masks)
    frames, places = measures.mean_over_frames(weights, of_frames), measures.mean_over_places(weights, of_places)
    for b, q, row in each(weights):
        inside = sum(w for cell, w in row if all(mask[q, at] for mask, at in zip(masks, cell, strict=True)))
        assert float(box[b, q]) == pytest.approx(inside, rel=1e-10)
        assert float(frames[b, q]) == pytest.approx(sum(w * float(of_frames[q, t]) for (t, _, _), w in row), rel=1e-10)
        naive = sum(w * float(of_places[q, y, x]) for (_, y, x), w in row)
        assert float(places[b, q]) == pytest.approx(naive, rel=1e-10)


def test_unevenness() -> None:
    weights, even = random_weights(1), random_weights(2)
    naive = (weights - even).clamp(min=0).sum(dim=(2, 3, 4))  # what one has more is what the other has less
    torch.testing.assert_close(measures.unevenness(weights, even), naive, **EXACT)
    assert not measures.unevenness(even, even).any()


def test_query_distance_is_the_mean_over_pairs() -> None:
    weights = random_weights(1)
    found = measures.query_distance(weights)
    for b in range(B):
        rows = weights[b].flatten(1)
        pairs = list(combinations(range(Q), 2))
        naive = sum((1 - torch.cosine_similarity(rows[i], rows[j], dim=0)) / 2 for i, j in pairs) / len(pairs)
        assert float(found[b]) == pytest.approx(float(naive), rel=1e-10)


def test_query_distance_of_the_same_and_of_disjoint_maps() -> None:
    one = random_weights(4, 1, 1, *KEYS)
    assert float(measures.query_distance(one.expand(-1, Q, -1, -1, -1))) == pytest.approx(0, abs=1e-12)
    assert float(measures.query_distance(one)) == 0  # one query alone
    disjoint = torch.eye(Q, dtype=torch.float64).reshape(1, Q, 1, 1, Q)
    assert float(measures.query_distance(disjoint)) == pytest.approx(0.5, rel=1e-12)


def test_unit_sums_of_parts_add_up() -> None:
    weights = random_weights(1)
    total = measures.unit_sum(weights[:, :2]) + measures.unit_sum(weights[:, 2:])
    torch.testing.assert_close(measures.distance_of(total, Q), measures.query_distance(weights), **EXACT)


def test_contribution() -> None:
    x = torch.tensor([3.0, 4.0])
    assert measures.contribution(x, torch.tensor([3.0, 4.5])) == pytest.approx(0.1)
    assert measures.contribution(x, x) == 0
    assert measures.contribution(0 * x, 0 * x) == 0
    assert measures.contribution(0 * x, x) == math.inf
