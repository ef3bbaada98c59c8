"""Rounds: sides take turns, until the ratio is sure or time is up; and what others take of the machine."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from videonl.benchmarks import busy
from videonl.benchmarks.busy import Others, Shares
from videonl.benchmarks.rounds import MOST_ROUNDS, Rounds, alternate


def lasting(order: list[str], side: str, times: list[float | None]) -> Callable[[], float | None]:
    return lambda: (order.append(side), times.pop(0))[1]


def test_sides_take_turns_and_their_first_calls_do_not_count() -> None:
    order: list[str] = []
    calls = {
        "ours": lasting(order, "ours", [900, 300, 100, 200]),
        "plain": lasting(order, "plain", [900, 700, 800, 500]),
    }
    rounds = alternate(calls, seconds=2)
    assert rounds == Rounds((300, 100, 200), (700, 800, 500))
    assert (rounds.median, rounds.minimum) == ({"ours": 200, "plain": 700}, {"ours": 100, "plain": 500})
    assert order == ["ours", "plain"] * 4


@pytest.mark.parametrize(
    ("ours", "plain", "seconds", "expected"),
    [
        (5000.0, 7000.0, 1.0, 3),  # slow calls
        (2.0, 3.0, 60.0, 7),  # quick ones that agree
        (None, 3.0, 60.0, 7),  # one side alone, whose spread nobody asks for
    ],
)
def test_no_more_rounds_than_the_spread_asks_for(
    ours: float | None, plain: float, seconds: float, expected: int
) -> None:
    assert len(alternate({"ours": lambda: ours, "plain": lambda: plain}, seconds)) == expected


def test_a_large_spread_asks_for_rounds_until_time_is_up() -> None:
    generator = np.random.default_rng(3)
    calls = {side: lambda: float(generator.uniform(1, 9)) for side in ("ours", "plain")}
    assert 7 < len(alternate(calls, seconds=0.2)) < MOST_ROUNDS
    assert len(alternate(calls, seconds=60)) == MOST_ROUNDS


def test_a_side_that_runs_out_of_memory_later_is_dropped() -> None:
    calls = {"ours": lasting([], "ours", [3.0] * 8), "plain": lasting([], "plain", [5.0, 5.0, None])}
    assert alternate(calls, seconds=60) == Rounds((3.0,) * 7, ())


def test_the_spread_is_two_standard_errors_of_the_ratio() -> None:
    generator = np.random.default_rng(5)
    ratios = 3 + 0.3 * generator.standard_normal((997, 41))
    told = np.median([Rounds((1.0,) * 41, tuple(row)).spread for row in ratios.tolist()])
    true = 2 * np.median(ratios, axis=1).std() / 3
    assert told == pytest.approx(true, rel=0.1)
    assert NormalDist().inv_cdf(0.975) == pytest.approx(2, abs=0.05)


def test_what_slows_both_sides_down_leaves_the_ratio_stable() -> None:
    slowed = (1.0, 9.0, 2.0, 17.0, 1.0)
    assert not Rounds(slowed, tuple(3 * time for time in slowed)).unstable
    assert Rounds(slowed, (3.0,) * 5).unstable
    assert Rounds((1.0, 1.0), (3.0, 3.0)).unstable  # two rounds say nothing of a spread
    assert not Rounds((1.0, 1.0), ()).unstable  # nor is there a ratio


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_work_of_ones_own_and_of_ones_children_is_no_work_of_others() -> None:
    counted = busy._counted()
    child = multiprocessing.get_context("fork").Process(target=spin, args=(0.3,))
    child.start()
    spin(0.3)
    child.join()
    used, _, total, own = (after - before for after, before in zip(busy._counted(), counted, strict=True))
    assert own > 0.1
    assert total > 0 and used >= 0


def test_work_of_others_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(busy, "STAT", stat)
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    stat.write_text("cpu  1000 0 500 9000 0 0 0 10 0 0\ncpu0 1 2 3\n")
    others = Others()
    stat.write_text("cpu  7000 0 1500 11000 500 100 400 110 0 0\ncpu0 1 2 3\n")
    shares = others.shares()
    assert shares.others == pytest.approx(7500 / 10100, abs=0.02)  # less what this process took meanwhile
    assert shares.stolen == pytest.approx(100 / 10100)
    assert "other processes took 74%" in str(shares.words)
    assert Shares(0.09, 0.01).words is None
    assert "its host 3%" in str(Shares(0.0, 0.03).words)


def test_where_the_system_does_not_say_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "STAT", tmp_path / "none")
    assert Others().shares() == Shares(0.0, 0.0)
