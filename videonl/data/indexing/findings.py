"""Findings about a data set from its index: copies, leakage between splits, segments, and suspicious labels."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from videonl.data.indexing.index_file import IndexRow
from videonl.data.indexing.segments import overlaps, reaches_beyond
from videonl.data.sources.several import labels_of

_UNEVEN = 5  # times as many training videos
_FEW = 10
# What people call the same thing in different ways.
_SAME_WORD = str.maketrans({"_": None, "-": None, " ": None})


class Group(NamedTuple):
    """A group of videos, and what they share."""

    shared: str
    records: list[IndexRow]

    def __str__(self) -> str:
        places = [
            f"{record.name} ({record.split or 'no split'}, {record.label or 'no label'})" for record in self.records
        ]
        return " = ".join(places)


def copies(records: Sequence[IndexRow]) -> list[Group]:
    """Groups of rows with identical bytes: copies of a file, or one file, or part of one, listed more than once."""
    return _groups(records, _content, lambda group: len(group) > 1)


def leaks(records: Sequence[IndexRow]) -> list[Group]:
    """Groups of rows with identical bytes in different splits."""
    return [group for group in copies(records) if len({record.split for record in group.records}) > 1]


def shared_clips(records: Sequence[IndexRow]) -> list[Group]:
    """Groups of clips cut from the same video (``clip_id``), or of its segments, that are in different splits."""
    return _groups(records, _origin, lambda group: len({record.split for record in group}) > 1)


def overlapping_splits(records: Sequence[IndexRow]) -> list[Group]:
    """Pairs of segments that share frames and are in different splits."""
    return [Group(pair[0].content_hash, pair) for pair in overlaps(records)]


def beyond_the_end(records: Sequence[IndexRow]) -> list[IndexRow]:
    """Segments that end after their video does."""
    return [record for record in records if record.usable and reaches_beyond(record)]


def names_of(record: IndexRow) -> tuple[str, ...]:
    """The labels of a row: one as it is, which may be empty, or those of a list."""
    try:
        return labels_of(record.label) if record.label.startswith("[") else (record.label,)
    except ValueError:  # a class folder may be called so
        return (record.label,)


def contradictions(records: Sequence[IndexRow]) -> list[Group]:
    """Groups of rows with identical bytes and different labels."""
    return [group for group in copies(records) if len({record.label for record in group.records} - {""}) > 1]


def similar_labels(records: Sequence[IndexRow]) -> list[list[str]]:
    """Groups of labels that differ only in capitals, spaces, underscores or hyphens."""
    by_word: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name in names_of(record):
            by_word[name.casefold().translate(_SAME_WORD)].add(name)
    return [sorted(labels) for _, labels in sorted(by_word.items()) if len(labels) > 1]


def labels_without_training(records: Sequence[IndexRow]) -> list[str]:
    """Labels that occur in other splits but not in the split ``train``; none without such a split."""
    trained = {name for record in records if record.split == "train" and record.usable for name in names_of(record)}
    every = {name for record in records for name in names_of(record)}
    return sorted(every - trained - {""}) if trained else []


def uneven_classes(records: Sequence[IndexRow]) -> list[str]:
    """What to know of classes that have far fewer training videos than others; nothing where they are even."""
    trained = [record for record in records if record.usable and record.split in ("train", "")]
    counts = Counter(name for record in trained if record.label for name in names_of(record))
    if len(counts) < 2:
        return []
    (largest, most), (smallest, fewest) = (counts.most_common()[place] for place in (0, -1))
    found = []
    several = any(len(names_of(record)) != 1 for record in trained)
    adjusted = "--model.positive_weights" if several else "--model.loss.logit_adjustment 1"
    if most >= _UNEVEN * fewest:
        found.append(
            f"{largest} has {most / fewest:.0f} times as many training videos as {smallest} ({most} and {fewest}): "
            f"try --data.balance sqrt, --model.loss.class_weights effective or {adjusted}, and compare the metrics "
            "that count all classes equally"
        )
    few = sorted(name for name, count in counts.items() if count < _FEW)
    if few:
        names = ", ".join(few[:_FEW]) + (", ..." if len(few) > _FEW else "")
        found.append(f"{len(few)} classes have fewer than {_FEW} training videos: {names}")
    return found


def _content(record: IndexRow) -> str:
    return f"{record.content_hash} {record.segment or ''}" if record.content_hash else ""


def _origin(record: IndexRow) -> str:
    return record.clip_id or (record.content_hash if record.segment else "")


def _groups(
    records: Sequence[IndexRow], key: Callable[[IndexRow], str], is_kept: Callable[[list[IndexRow]], bool]
) -> list[Group]:
    by_key: dict[str, list[IndexRow]] = defaultdict(list)
    for record in records:
        if key(record):
            by_key[key(record)].append(record)
    return [Group(shared, group) for shared, group in by_key.items() if is_kept(group)]
