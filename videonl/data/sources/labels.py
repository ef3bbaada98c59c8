"""From labels as they are written to indices of classes."""

import logging
from collections.abc import Collection, Mapping, Sequence

from videonl.data.loader import are_too_many
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.lists import shorten
from videonl.data.sources.several import check_one_label, labels_of
from videonl.data.video import Video
from videonl.errors import UserError

UNKNOWN = -1  # the label of a video whose class is not known
_log = logging.getLogger(__name__)


def class_list(labels: Sequence[str]) -> list[str]:
    """The distinct labels, sorted: as numbers if every one is an integer, else as text.

    >>> class_list(["10", "9", "10"])
    ['9', '10']
    """
    distinct = set(labels)
    if all(label.removeprefix("-").isdecimal() for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)


def classes_of(labeled: Sequence[LabeledPath], several: bool = False) -> list[str]:
    """The classes of some videos: in the order of their numbers where a file named these, else as :func:`class_list`.

    Args:
        labeled: Videos.
        several: Whether a video may have several labels.

    Raises:
        UserError: A video has no label.
    """
    if several:
        named = {
            label: number
            for entry in labeled
            for label, number in zip(labels_of(_label_of(entry, several)), _numbers(entry), strict=True)
        }
        if named and all(named.values()):
            return sorted(named, key=lambda label: int(named[label]))
        return class_list(list(named))
    numbers = {_label_of(entry): entry.number for entry in labeled}
    return (
        sorted(numbers, key=lambda label: int(numbers[label])) if all(numbers.values()) else class_list(list(numbers))
    )


def assign(labeled: Sequence[LabeledPath], classes: Sequence[str], several: bool = False) -> list[Video]:
    """Replace each label by its index in ``classes``.

    Where the classes have no names, as those of converted weights, a label that is a number is an index. With
    ``several``, a video gets a tuple of indices, in rising order.

    Raises:
        UserError: A video has no label, or one that is not among the classes.
    """
    index_of = _index_by_label(classes)
    for entry in labeled:
        if not _is_known(_label_of(entry, several), index_of, several):
            raise UserError(
                f"{entry.origin}: {_wrong_label(entry, classes, several)}. "
                "Correct the label, or add it to the classes (--data.classes, or the training videos)."
            )
    return [_video(entry, _indices(_label_of(entry, several), index_of, several)) for entry in labeled]


def assign_known(labeled: Sequence[LabeledPath], classes: Sequence[str], several: bool = False) -> list[Video]:
    """As :func:`assign`, but a video without a label, or of another class, gets :data:`UNKNOWN`; a warning says so."""
    index_of = _index_by_label(classes)
    if not several:
        for entry in labeled:
            check_one_label(entry.label or "", entry.origin)
    known = [entry.label is not None and _is_known(entry.label, index_of, several) for entry in labeled]
    foreign = [
        entry for entry, is_known in zip(labeled, known, strict=True) if not is_known and entry.label is not None
    ]
    if foreign:
        _log.warning(
            "%d of %d videos have a label that the network does not know, and count as unlabeled, such as %s: %s",
            len(foreign),
            len(labeled),
            foreign[0].origin,
            _wrong_label(foreign[0], classes, several),
        )
    return [
        _video(entry, _indices(entry.label or "", index_of, several) if is_known else UNKNOWN)
        for entry, is_known in zip(labeled, known, strict=True)
    ]


def _video(entry: LabeledPath, label: int | tuple[int, ...]) -> Video:
    return Video(entry.path, label, entry.frame_table, entry.unreadable)


def _is_known(label: str, classes: Collection[str], several: bool) -> bool:
    return all(each in classes for each in labels_of(label)) if several else label in classes


def _indices(label: str, index_of: Mapping[str, int], several: bool) -> int | tuple[int, ...]:
    return tuple(sorted({index_of[each] for each in labels_of(label)})) if several else index_of[label]


def _numbers(entry: LabeledPath) -> list[str]:
    """The numbers of the labels, as far as a file of class names has them."""
    count = len(labels_of(entry.label or ""))
    numbers = list(labels_of(entry.number))
    return numbers if len(numbers) == count else [""] * count


def _index_by_label(classes: Sequence[str]) -> dict[str, int]:
    numbers = {str(index): index for index, name in enumerate(classes) if name == f"class {index}"}
    return {**numbers, **{name: index for index, name in enumerate(classes)}}


def leave_out_wrong_labels(
    labeled: Sequence[LabeledPath], classes: Sequence[str], max_share: float, several: bool = False
) -> list[LabeledPath]:
    """The videos whose label is among the classes; a warning names each of the others.

    Args:
        labeled: Videos.
        classes: The classes.
        max_share: Share of the videos that may be left out.
        several: Whether a video may have several labels.

    Raises:
        UserError: More are to be left out; it lists them.
    """
    known = set(classes)
    wrong = {
        entry.origin: _wrong_label(entry, classes, several)
        for entry in labeled
        if entry.label is None or not _is_known(entry.label, known, several)
    }
    kept = [entry for entry in labeled if entry.label is not None and _is_known(entry.label, known, several)]
    if not kept or are_too_many(len(wrong), len(labeled), max_share):
        listed = "\n".join(f"  {origin}: {reason}" for origin, reason in wrong.items())
        raise UserError(
            f"{len(wrong)} of {len(labeled)} training videos have a wrong label or none, more than the share of "
            f"{max_share:g} that --data.loading.max_failed_share allows:\n{listed}\nCorrect them, or add them to "
            "--data.classes."
        )
    for origin, reason in wrong.items():
        _log.warning("skipped %s: %s", origin, reason)
    return kept


def _label_of(entry: LabeledPath, several: bool = False) -> str:
    if entry.label is None:
        raise UserError(
            f"{entry.origin}: has no label, but one is required here. Arrange videos as CLASS/CLIP.mp4, or list them "
            "as 'path label'; videonl evaluate and predict score videos without labels."
        )
    if not several:
        check_one_label(entry.label, entry.origin)
    return entry.label


def _wrong_label(entry: LabeledPath, classes: Sequence[str], several: bool = False) -> str:
    if entry.label is None:
        return "has no label"
    unknown = [each for each in labels_of(entry.label) if each not in classes] if several else [entry.label]
    return f"label {unknown[0]!r} is not one of the {len(classes)} classes ({shorten(classes)})"
