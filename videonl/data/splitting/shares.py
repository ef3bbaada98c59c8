"""Which split each group of videos goes to: groups stay whole, and every class has its share in every split."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate

from videonl.errors import UserError

_MOST_FOLDS = 10
_MOST_PASSES = 50
_MOST_PARTNERS = 200  # among more groups single moves come as near
_LEAST_GAIN = 1e-9
# What a class that a split lacks costs: more than shares usually do, but at first nothing, lest a large group stays
# where it is because of its classes.
_MISSING = (0.0, 1.0, 10.0)


def split_groups(
    groups: Sequence[str], labels: Sequence[Sequence[str]], shares: Sequence[float], seed: int = 0
) -> dict[str, int]:
    """Chooses a split for every group, whatever the order of the videos.

    scikit-learn's ``StratifiedGroupKFold`` makes folds of equal size, which are joined according to the shares. Groups
    then move one by one, and change places, for as long as that brings the share of every class, and of all videos,
    nearer to those wanted, or brings a class into a split that lacks it.

    Args:
        groups: The group of each video.
        labels: The classes of each video: one, several or none.
        shares: Positive numbers whose sum is 1, one for each split.
        seed: Of the order in which the groups are dealt.

    Returns:
        The number of the split, by group.

    Raises:
        UserError: There are fewer groups than splits, or every class lies in one group.
    """
    if len(set(groups)) < len(shares):
        raise UserError(
            f"{len(shares)} splits need as many groups, but there are {len(set(groups))}, such as {groups[0]!r}. "
            "Choose other groups: --by a column, folder or prefix, or --group-pattern."
        )
    counts = class_counts(groups, labels)
    if max(num_groups(counts).values(), default=0) < 2:
        raise UserError(
            f"every class lies in one group, such as {groups[0]!r}, so no class can be in two splits. Choose smaller "
            "groups: --by a column, folder or prefix, or --group-pattern."
        )
    sizes = Counter(groups)
    folds = _folds(groups, labels, seed)
    limits = list(accumulate(shares))[:-1]
    num_folds = max(folds.values()) + 1
    start = {group: sum((fold + 0.5) / num_folds > limit for limit in limits) for group, fold in folds.items()}
    return _Placement(counts, sizes, shares, start).improved()


def class_counts(groups: Sequence[str], labels: Sequence[Sequence[str]]) -> dict[str, Counter[str]]:
    """How many videos of each class every group has."""
    counts: dict[str, Counter[str]] = {group: Counter() for group in sorted(set(groups))}
    for group, names in zip(groups, labels, strict=True):
        counts[group].update(names)
    return counts


def num_groups(counts: Mapping[str, Counter[str]]) -> Counter[str]:
    """How many groups have videos of each class."""
    return Counter(name for of_group in counts.values() for name in of_group)


def _folds(groups: Sequence[str], labels: Sequence[Sequence[str]], seed: int) -> dict[str, int]:
    """The fold of each group; a video with several classes counts for the rarest of them."""
    from sklearn.model_selection import StratifiedGroupKFold  # takes seconds, which other commands need not wait for

    frequency = Counter(name for names in labels for name in names)
    rarest = [min(names, key=lambda name: (frequency[name], name), default="") for names in labels]
    if max(Counter(rarest).values()) < 2:
        rarest = [""] * len(rarest)
    num_folds = min(_MOST_FOLDS, len(set(groups)), max(Counter(rarest).values()))
    number = {name: place for place, name in enumerate(sorted(set(rarest)))}
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # of classes with few videos, which the report names
        warnings.simplefilter("ignore", UserWarning)
        folds = list(splitter.split(rarest, [number[name] for name in rarest], groups))
    return {groups[place]: fold for fold, (_, places) in enumerate(folds) for place in places}


def _partners(counts: Mapping[str, Counter[str]]) -> dict[str, Sequence[str]]:
    """What each group may be exchanged with: any other of a few, of many those of the same classes."""
    if len(counts) <= _MOST_PARTNERS:
        everyone = list(counts)
        return dict.fromkeys(counts, everyone)
    alike = defaultdict(list)
    for group, of_group in counts.items():
        alike[tuple(sorted(of_group))].append(group)
    chosen = {classes: groups if len(groups) <= _MOST_PARTNERS else [] for classes, groups in alike.items()}
    return {group: chosen[tuple(sorted(of_group))] for group, of_group in counts.items()}


class _Placement:
    """Groups in splits, and how far the shares are from those wanted.

    The distance is the sum, over classes and splits, of ``(share - wanted)^2 / wanted``, and of 10 where a split lacks
    a class that has enough groups for all; the shares of all videos count as much as those of all classes together.

    Args:
        counts: The videos of each class, by group.
        sizes: The videos of each group.
        shares: Those wanted, by split.
        split_of: Where each group is.
    """

    def __init__(
        self,
        counts: Mapping[str, Counter[str]],
        sizes: Mapping[str, int],
        shares: Sequence[float],
        split_of: dict[str, int],
    ) -> None:
        self.shares, self.split_of = shares, split_of
        # All videos are one more class, of the empty name.
        self.counts = {group: [*sorted(of_group.items()), ("", sizes[group])] for group, of_group in counts.items()}
        groups_of_class = num_groups(counts)
        self.weights = dict.fromkeys(groups_of_class, 1.0) | {"": float(len(groups_of_class))}
        self.is_owed = {name: number >= len(shares) for name, number in groups_of_class.items()} | {"": True}
        self.partners, self.missing = _partners(counts), 0.0
        self.totals: Counter[str] = Counter()
        self.videos: dict[str, list[int]] = defaultdict(lambda: [0] * len(shares))
        self.groups: dict[str, list[int]] = defaultdict(lambda: [0] * len(shares))
        for group, split in split_of.items():
            self.totals.update(dict(self.counts[group]))
            self._put(group, split, 1)

    def improved(self) -> dict[str, int]:
        """Moves groups until no move, and no exchange of two groups, brings the shares nearer."""
        order = sorted(self.counts, key=lambda group: (-self.counts[group][-1][1], group))
        for self.missing in _MISSING:
            for _ in range(_MOST_PASSES):
                if not sum([self._move(group) for group in order]) and not sum(
                    [self._exchange(group) for group in order]
                ):
                    break
        return self.split_of

    def _move(self, group: str) -> bool:
        before = self.split_of[group]
        gains = [self._gain(group, before, split) for split in range(len(self.shares))]
        best = max(range(len(gains)), key=lambda split: (gains[split], -split))
        return gains[best] > _LEAST_GAIN and self._put_to(group, best)

    def _exchange(self, group: str) -> bool:
        """Exchanges it with a group of another split, if that helps."""
        here, tried = self.split_of[group], set()
        for other in self.partners[group]:
            there = self.split_of[other]
            key = (there, tuple(self.counts[other]))
            if there == here or self.counts[other] == self.counts[group] or key in tried:
                continue
            tried.add(key)
            gain = self._gain(group, here, there)
            self._put_to(group, there)
            if gain + self._gain(other, there, here) > _LEAST_GAIN:
                return self._put_to(other, here)
            self._put_to(group, here)
        return False

    def _put_to(self, group: str, split: int) -> bool:
        self._put(group, self.split_of[group], -1)
        self._put(group, split, 1)
        self.split_of[group] = split
        return True

    def _put(self, group: str, split: int, sign: int) -> None:
        for name, number in self.counts[group]:
            self.videos[name][split] += sign * number
            self.groups[name][split] += sign

    def _gain(self, group: str, before: int, after: int) -> float:
        """By how much the distance falls when a group moves."""
        if before == after:
            return 0.0
        return math.fsum(
            self._distance(name, split, 0, 0) - self._distance(name, split, sign * number, sign)
            for name, number in self.counts[group]
            for split, sign in ((before, -1), (after, 1))
        )

    def _distance(self, name: str, split: int, more_videos: int, more_groups: int) -> float:
        wanted = self.shares[split]
        share = (self.videos[name][split] + more_videos) / self.totals[name]
        is_missing = self.is_owed[name] and self.groups[name][split] + more_groups == 0
        return self.weights[name] * ((share - wanted) ** 2 / wanted + self.missing * is_missing)
