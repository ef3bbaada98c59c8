"""From labels as they are written to indices of classes."""

import logging
from collections.abc import Sequence

from videonl.data.loader import are_too_many
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.lists import shorten
from videonl.data.sources.several import check_one_label
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


def classes_of(labeled: Sequence[LabeledPath]) -> list[str]:
    """The classes of some videos: in the order of their numbers where a file named these, else as :func:`class_list`.

    Raises:
        UserError: A video has no label.
    """
    numbers = {_label_of(entry): entry.number for entry in labeled}
    return (
        sorted(numbers, key=lambda label: int(numbers[label])) if all(numbers.values()) else class_list(list(numbers))
    )


def assign(labeled: Sequence[LabeledPath], classes: Sequence[str]) -> list[Video]:
    """Replace each label by its index in ``classes``.

    Where the classes have no names, as those of converted weights, a label that is a number is an index.

    Raises:
        UserError: A video has no label, or one that is not among the classes.
    """
    index_of = _index_by_label(classes)
    for entry in labeled:
        if _label_of(entry) not in index_of:
            raise UserError(
                f"{entry.origin}: {_wrong_label(entry, classes)}. "
                "Correct the label, or add it to the classes (--data.classes, or the training videos)."
            )
    return [Video(entry.path, index_of[_label_of(entry)], entry.frame_table, entry.unreadable) for entry in labeled]


def assign_known(labeled: Sequence[LabeledPath], classes: Sequence[str]) -> list[Video]:
    """As :func:`assign`, but a video without a label, or of another class, gets :data:`UNKNOWN`; a warning says so."""
    index_of = _index_by_label(classes)
    for entry in labeled:
        check_one_label(entry.label or "", entry.origin)
    foreign = [entry for entry in labeled if entry.label is not None and entry.label not in index_of]
    if foreign:
        _log.warning(
            "%d of %d videos have a label that the network does not know, and count as unlabeled, such as %s: %s",
            len(foreign),
            len(labeled),
            foreign[0].origin,
            _wrong_label(foreign[0], classes),
        )
    return [
        Video(entry.path, index_of.get(entry.label or "", UNKNOWN), entry.frame_table, entry.unreadable)
        for entry in labeled
    ]


def _index_by_label(classes: Sequence[str]) -> dict[str, int]:
    numbers = {str(index): index for index, name in enumerate(classes) if name == f"class {index}"}
    return {**numbers, **{name: index for index, name in enumerate(classes)}}


def leave_out_wrong_labels(
    labeled: Sequence[LabeledPath], classes: Sequence[str], max_share: float
) -> list[LabeledPath]:
    """The videos whose label is among the classes; a warning names each of the others.

    Args:
        labeled: Videos.
        classes: The classes.
        max_share: Share of the videos that may be left out.

    Raises:
        UserError: More are to be left out; it lists them.
    """
    known = set(classes)
    wrong = {entry.origin: _wrong_label(entry, classes) for entry in labeled if entry.label not in known}
    kept = [entry for entry in labeled if entry.label in known]
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


def _label_of(entry: LabeledPath) -> str:
    if entry.label is None:
        raise UserError(
            f"{entry.origin}: has no label, but one is required here. Arrange videos as CLASS/CLIP.mp4, or list them "
            "as 'path label'; videonl evaluate and predict score videos without labels."
        )
    check_one_label(entry.label, entry.origin)
    return entry.label


def _wrong_label(entry: LabeledPath, classes: Sequence[str]) -> str:
    if entry.label is None:
        return "has no label"
    return f"label {entry.label!r} is not one of the {len(classes)} classes ({shorten(classes)})"
