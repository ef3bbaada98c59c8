"""Groups stay whole, classes get their shares, and the order of the videos does not matter."""

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from videonl.data.splitting.shares import split_groups
from videonl.errors import UserError

LISTS = Path(__file__).resolve().parents[4] / "shared" / "lists"
SHARES = (0.7, 0.15, 0.15)


def grouped(seed: int, num_classes: int, num_groups: int) -> tuple[list[str], list[tuple[str]]]:
    """Videos of which each group has one class, as those of UCF101 have."""
    draw = random.Random(seed)
    pairs = [
        (f"{name}_{group}", (f"c{name}",))
        for name in range(num_classes)
        for group in range(num_groups)
        for _ in range(draw.randint(1, 7))
    ]
    return [group for group, _ in pairs], [labels for _, labels in pairs]


def distance(
    groups: Sequence[str], labels: Sequence[Sequence[str]], shares: Sequence[float], split_of: Mapping[str, int]
) -> float:
    """How far the shares of classes are from those wanted, and how many classes splits lack, written out."""
    names = sorted({name for each in labels for name in each})
    total = 0.0
    for split, share in enumerate(shares):
        inside = [split_of[group] == split for group in groups]
        total += len(names) * ((sum(inside) / len(groups) - share) ** 2 / share)
        for name in names:
            has = [name in each for each in labels]
            got = sum(a and b for a, b in zip(has, inside, strict=True))
            owed = len({group for group, b in zip(groups, has, strict=True) if b}) >= len(shares)
            total += (got / sum(has) - share) ** 2 / share + 10 * (owed and got == 0)
    return total


def test_every_class_gets_its_shares() -> None:
    groups, labels = grouped(0, num_classes=13, num_groups=17)
    split_of = split_groups(groups, labels, SHARES)
    assert split_of.keys() == set(groups)
    totals = Counter(name for (name,) in labels)
    got = Counter((name, split_of[group]) for group, (name,) in zip(groups, labels, strict=True))
    for name, split in itertools.product(totals, range(3)):
        assert abs(got[name, split] - SHARES[split] * totals[name]) <= 3.5  # half of the largest group
    for split in range(3):
        assert sum(got[name, split] for name in totals) / len(groups) == pytest.approx(SHARES[split], abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_hardly_a_split_of_few_groups_is_nearer(seed: int) -> None:
    draw = random.Random(seed)
    groups = [f"p{group}" for group in range(7) for _ in range(draw.randint(1, 11))]
    labels = [tuple(draw.sample(("run", "walk", "wave"), draw.randint(0, 2))) for _ in groups]
    found = distance(groups, labels, SHARES, split_groups(groups, labels, SHARES))
    names = sorted(set(groups))
    everything = itertools.product(range(3), repeat=len(names))
    distances = sorted(distance(groups, labels, SHARES, dict(zip(names, each, strict=True))) for each in everything)
    # The search is local, and begins at folds that differ between versions of scikit-learn.
    assert found <= distances[len(distances) // 50]


def test_a_class_with_as_many_groups_as_splits_is_in_every_split() -> None:
    groups, labels = grouped(1, num_classes=11, num_groups=3)
    split_of = split_groups(groups, labels, SHARES)
    assert len({(name, split_of[group]) for group, (name,) in zip(groups, labels, strict=True)}) == 33


def test_the_order_of_videos_does_not_matter_and_the_seed_does() -> None:
    groups, labels = grouped(2, num_classes=5, num_groups=19)
    places = list(range(len(groups)))
    random.Random(3).shuffle(places)
    shuffled = split_groups([groups[place] for place in places], [labels[place] for place in places], SHARES)
    assert split_groups(groups, labels, SHARES) == shuffled
    assert split_groups(groups, labels, SHARES, seed=1) != shuffled


def test_one_large_group_is_for_training() -> None:
    groups = ["large"] * 40 + [f"small{number // 3}" for number in range(60)]
    split_of = split_groups(groups, [(("run", "walk")[place % 2],) for place in range(100)], SHARES)
    assert split_of["large"] == 0
    counts = Counter(split_of[group] for group in groups)
    assert max(abs(counts[split] / 100 - share) for split, share in enumerate(SHARES)) <= 0.02


def test_equal_shares_are_no_further_off_than_those_of_scikit_learn() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    groups, labels = grouped(4, num_classes=7, num_groups=11)
    thirds = (1 / 3, 1 / 3, 1 / 3)
    names = [name for (name,) in labels]
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=0).split(names, names, groups)
    theirs = {groups[place]: fold for fold, (_, places) in enumerate(folds) for place in places}
    ours = split_groups(groups, labels, thirds)
    assert distance(groups, labels, thirds, ours) <= distance(groups, labels, thirds, theirs)
    assert math.isfinite(distance(groups, labels, thirds, ours))


@pytest.mark.shared
@pytest.mark.skipif(not LISTS.is_dir(), reason=f"{LISTS} is absent")
def test_ucf101_by_its_groups() -> None:
    lines = (LISTS / "ucf101_trainlist01.txt").read_text().split("\n")
    rows = [found for line in lines if (found := re.match(r"(\w+)/v_\w+_(g\d+)_c\d+", line))]
    groups, labels = [f"{row[1]} {row[2]}" for row in rows], [(row[1],) for row in rows]
    split_of = split_groups(groups, labels, (0.8, 0.2))
    held_out = sum(split_of[group] for group in groups) / len(groups)
    assert held_out == pytest.approx(0.2, abs=0.01)


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(UserError, match="3 splits need as many groups, but there are 2, such as 'a'"):
        split_groups(["a", "b"], [("run",), ("run",)], SHARES)
    with pytest.raises(UserError, match="every class lies in one group"):
        split_groups(["a", "b", "c"], [("run",), ("walk",), ("wave",)], SHARES)
