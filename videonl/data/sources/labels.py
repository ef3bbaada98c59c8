"""From labels as they are written to indices of classes."""

import logging
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from videonl.data.loader import are_too_many
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.lists import shorten
from videonl.data.sources.several import check_one_label, labels_of
from videonl.data.video import UNKNOWN, Label, Video
from videonl.errors import UserError

__all__ = ["UNKNOWN", "assign", "assign_known", "class_list", "classes_of", "leave_out_wrong_labels"]
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
        labeled: The videos.
        several: Whether a video may have any number of labels, rather than one.

    Raises:
        UserError: A video has no label, or several where there must be one.
    """
    numbers: dict[str, str] = {}
    for entry in labeled:
        names = _names_of(entry, several)
        numbers.update(zip(names, labels_of(entry.number) if entry.number else len(names) * ("",), strict=True))
    _tell_of_alike(numbers)
    in_order = bool(numbers) and all(numbers.values())
    return sorted(numbers, key=lambda label: int(numbers[label])) if in_order else class_list(list(numbers))


def _tell_of_alike(classes: Iterable[str]) -> None:
    """Tells of classes that nobody can tell apart, or by capitals alone: copied from elsewhere, or mistyped."""
    seen: dict[str, str] = {}
    for label in sorted(classes):
        visible = "".join(char for char in label if unicodedata.category(char) != "Cf")
        other = seen.setdefault(" ".join(unicodedata.normalize("NFKC", visible).casefold().split()), label)
        if other != label:
            _log.warning(
                "the classes %s and %s differ in capitals, spaces or invisible characters alone, and are two classes. "
                "If they are one, correct the labels.",
                ascii(other),
                ascii(label),
            )


def assign(labeled: Sequence[LabeledPath], classes: Sequence[str], several: bool = False) -> list[Video]:
    """Replace each label by its index in ``classes``; of several labels, all by theirs.

    Where the classes have no names, as those of converted weights, a label that is a number is an index.

    Raises:
        UserError: A video has no label, or one that is not among the classes.
    """
    index_of = _index_by_label(classes)
    for entry in labeled:
        if not all(name in index_of for name in _names_of(entry, several)):
            raise UserError(
                f"{entry.origin}: {_wrong_label(entry, classes, several)}. "
                "Correct the label, or add it to the classes (--data.classes, or the training videos)."
            )
    return [_video(entry, index_of, several) for entry in labeled]


def assign_known(labeled: Sequence[LabeledPath], classes: Sequence[str], several: bool = False) -> list[Video]:
    """As :func:`assign`, but a video without a label, or of another class, gets :data:`UNKNOWN`; a warning says so."""
    index_of = _index_by_label(classes)
    known = [
        entry.label is not None and all(name in index_of for name in _names_of(entry, several)) for entry in labeled
    ]
    pairs = list(zip(labeled, known, strict=True))
    foreign = [entry for entry, is_known in pairs if entry.label is not None and not is_known]
    if foreign:
        _log.warning(
            "%d of %d videos have a label that the network does not know, and count as unlabeled, such as %s: %s",
            len(foreign),
            len(labeled),
            foreign[0].origin,
            _wrong_label(foreign[0], classes, several),
        )
    return [
        _video(entry, index_of, several) if is_known else _video(entry._replace(label=None), index_of, several)
        for entry, is_known in pairs
    ]


def _index_by_label(classes: Sequence[str]) -> dict[str, int]:
    numbers = {str(index): index for index, name in enumerate(classes) if name == f"class {index}"}
    return {**numbers, **{name: index for index, name in enumerate(classes)}}


def _video(entry: LabeledPath, index_of: Mapping[str, int], several: bool) -> Video:
    label: Label = UNKNOWN
    if entry.label is not None:
        indices = [index_of[name] for name in _names_of(entry, several)]
        label = tuple(sorted(indices)) if several else indices[0]
    return Video(entry.path, label, entry.frame_table, entry.unreadable)


def leave_out_wrong_labels(
    labeled: Sequence[LabeledPath], classes: Sequence[str], max_share: float, several: bool = False
) -> list[LabeledPath]:
    """The videos whose label is among the classes; a warning names each of the others.

    Args:
        labeled: Videos.
        classes: The classes.
        max_share: Share of the videos that may be left out.
        several: As for :func:`classes_of`.

    Raises:
        UserError: More are to be left out; it lists them.
    """
    known = set(classes)
    is_right = {
        entry.origin: entry.label is not None and known.issuperset(_names_of(entry, several)) for entry in labeled
    }
    wrong = {entry.origin: _wrong_label(entry, classes, several) for entry in labeled if not is_right[entry.origin]}
    kept = [entry for entry in labeled if is_right[entry.origin]]
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


def _names_of(entry: LabeledPath, several: bool) -> tuple[str, ...]:
    """The labels of a video: exactly one, unless there may be several."""
    if entry.label is None:
        raise UserError(
            f"{entry.origin}: has no label, but one is required here. Arrange videos as CLASS/CLIP.mp4, or list them "
            "as 'path label'; videonl evaluate and predict score videos without labels."
        )
    if several:
        try:
            return labels_of(entry.label)
        except ValueError as error:
            raise UserError(f"{entry.origin}: {error}") from error
    check_one_label(entry.label, entry.origin)
    return (entry.label,)


def _wrong_label(entry: LabeledPath, classes: Sequence[str], several: bool) -> str:
    if entry.label is None:
        return "has no label"
    wrong = [name for name in _names_of(entry, several) if name not in classes]
    return f"label {(wrong or [entry.label])[0]!r} is not one of the {len(classes)} classes ({shorten(classes)})"
