"""How often videos of uneven classes are drawn."""

from collections import Counter
from typing import Any

import pytest
import torch

from tests.data.test_samplers import as_rank
from videonl.data.balance import balanced_order, draw_weights
from videonl.data.samplers import TrainingSampler
from videonl.data.video import Label
from videonl.errors import UserError

NAMES = ["walk", "run", "fall"]
LABELS = [0] * 61 + [1] * 23 + [2] * 5


def epochs(labels: list[Label], balance: Any, number: int = 7, seed: int = 0) -> list[list[int]]:
    weights = draw_weights(labels, balance, NAMES)
    assert weights is not None
    sampler = TrainingSampler(len(labels), seed, draws=lambda generator: balanced_order(weights, labels, generator))
    found = []
    for epoch in range(number):
        sampler.set_epoch(epoch)
        found.append([index for _, index in sampler])
    return found


@pytest.mark.parametrize(
    ("balance", "shares"),
    [("classes", (1, 1, 1)), ("sqrt", (61**0.5, 23**0.5, 5**0.5)), ({"fall": 3, "walk": 2}, (2, 1, 3))],
)
def test_each_epoch_has_as_many_of_a_class_as_it_weighs_but_for_one(balance: Any, shares: tuple[float, ...]) -> None:
    orders = epochs(LABELS, balance)
    for order in orders:
        counts = Counter(LABELS[index % len(LABELS)] for index in order)
        assert len(order) == len(LABELS) == len({*order})
        for label, share in enumerate(shares):
            assert abs(counts[label] - len(LABELS) * share / sum(shares)) <= 1
        times = Counter(index % len(LABELS) for index in order)
        for label in range(3):
            drawn = [times[video] for video, own in enumerate(LABELS) if own == label]
            assert max(drawn) - min(drawn) <= 1  # none a second time before all of its class
    assert orders[0] != orders[1] and orders == epochs(LABELS, balance)
    assert {index % len(LABELS) for order in orders for index in order} >= set(range(61, 89))


def test_a_video_drawn_again_has_another_number() -> None:
    order = epochs([0] * 17 + [1, 2], "classes", 1)[0]
    again = [index for index in order if index % 19 == 18]
    assert sorted(again) == [18 + 19 * time for time in range(len(again))] and len(again) in (6, 7)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_order_is_that_of_one_process(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    weights = draw_weights(LABELS, "classes", NAMES)
    assert weights is not None
    whole = epochs(LABELS, "classes", 1, seed=3)[0]
    parts = []
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        sampler = TrainingSampler(
            len(LABELS), 3, batch_size=2, draws=lambda generator: balanced_order(weights, LABELS, generator)
        )
        parts.append([index for _, index in sampler])
    merged = [index for step in zip(*parts, strict=True) for index in step]
    assert merged == whole[: len(merged)] and len(merged) > 80


def test_videos_of_several_labels_weigh_as_their_classes_do_on_average() -> None:
    labels: list[Label] = [(0,), (0,), (0, 1), (), (0, 2)]
    weights = draw_weights(labels, "classes", NAMES)
    assert weights is not None
    expected = [1 / 4, 1 / 4, (1 / 4 + 1) / 2, 0, (1 / 4 + 1) / 2]
    expected[3] = sum(expected) / 4
    assert weights.tolist() == pytest.approx(expected)
    assert draw_weights(labels, "none", NAMES) is None


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("even", "must be one of none, classes, sqrt, or weights by class, got 'even'"),
        ({"jump": 2}, r"'jump' is not one of the classes \(walk, run, fall\)"),
        ({"run": -1}, "the weight of run must be a number from 0 on, got -1"),
        ({"run": float("nan")}, "the weight of run"),
        ({"run": "much"}, "the weight of run"),
        (dict.fromkeys(NAMES, 0), "gives no video a weight above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(balance: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_weights(LABELS, balance, NAMES)


def test_the_generator_decides() -> None:
    weights = torch.ones(11, dtype=torch.float64)
    order = balanced_order(weights, [0] * 11, torch.Generator().manual_seed(1))
    assert sorted(order) == list(range(11))
