"""The first line of a list, where it names the columns."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from videonl.errors import UserError

_PATH = (
    *("path", "filepath", "filename", "file", "video", "videopath", "videofile", "videoname", "clip", "clippath"),
    *("clipname", "clipfile", "relativepath", "relpath", "fullpath", "folder", "framedir", "framefolder", "framespath"),
)
_LABEL = (
    *("label", "class", "classname", "labelname", "category", "action", "activity", "actionlabel", "classlabel"),
    *("actionname", "categoryname", "gesture", "target", "labels", "classid", "classindex", "classidx", "labelid"),
    *("labelindex", "labelidx", "actionid", "categoryid"),
)
_SPLIT = ("split", "subset", "partition")
_TIME_WORDS = frozenset(("start", "end", "begin", "stop", "onset", "offset", "segment", "segments"))
_TIME = re.compile(
    r"(t|frame|time)?(start|end|begin|stop)(ing)?(time|frame|seconds?|secs?|ms|s)?"
    r"|(first|last)frame|from|to|times?|timestamps?|t[0-9]"
)
_SEVERAL = re.compile(r"(labels|classes|categories|actions|tags)|(label|class|category|action|tag)\d+")


class Header(NamedTuple):
    """Where the columns are.

    Attributes:
        names: What the columns are called, as written.
        path: The place of the path.
        label: The place of the label; None where there is none.
        split: The place of the split; None where there is none.
    """

    names: list[str]
    path: int
    label: int | None
    split: int | None


def names_columns(names: Sequence[str]) -> bool:
    """Whether these words are names of columns, rather than a path and a label.

    >>> names_columns(["filename", "class"]), names_columns(["name", "3"])
    (True, False)
    """
    words = [_word(name) for name in names]
    known = [
        word
        for word in words
        if word in (*_PATH, *_LABEL, *_SPLIT) or _TIME.fullmatch(word) or _SEVERAL.fullmatch(word)
    ]
    return len(names) == 1 == len(known) or len(known) > 1


def header_of(names: list[str], origin: str) -> Header:
    """Finds the columns of the path, the label and the split by their names.

    Raises:
        UserError: There is no column of paths, or none of labels, or more than one, or one that is not read yet.
    """
    words = [_word(name) for name in names]
    _refuse_unread(names, words, origin)
    path, label, split = (_place(words, known, names, origin) for known in (_PATH, _LABEL, _SPLIT))
    others = [name for place, name in enumerate(names) if place not in (path, split)]
    if path is None or (label is None and others):
        missing = "paths (path)" if path is None else "labels (label)"
        raise UserError(
            f"{origin}: no column of {missing} is among the columns {', '.join(names)}. Rename one, or, if this line "
            "is not a header, add one that names path and label before it."
        )
    return Header(names, path, label, split)


def _refuse_unread(names: Sequence[str], words: Sequence[str], origin: str) -> None:
    times = [name for name in names if _looks_like_time(name)]
    if times:
        raise UserError(
            f"{origin}: the columns {', '.join(times)} look like a part of each video, but only whole videos are "
            "supported. Cut the videos, or remove the columns if each file is already one clip."
        )
    several = [name for name, word in zip(names, words, strict=True) if _SEVERAL.fullmatch(word)]
    if len(several) > 1 or (several and any(word in _LABEL for word in words if not _SEVERAL.fullmatch(word))):
        raise UserError(
            f"{origin}: the columns {', '.join(several)} look like several labels per video, but only one is "
            "supported. Remove the others."
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{origin}: the header names {', '.join(twice)} more than once. Rename or remove one.")


def _looks_like_time(name: str) -> bool:
    apart = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return bool(_TIME.fullmatch(_word(name)) or _TIME_WORDS & set(re.split(r"[^a-z]+", apart)))


def _place(words: Sequence[str], known: Sequence[str], names: Sequence[str], origin: str) -> int | None:
    places = [place for place, word in enumerate(words) if word in known]
    exact = [place for place in places if words[place] == known[0]]
    if len(places) > 1 and not exact:
        found = ", ".join(names[place] for place in places)
        raise UserError(f"{origin}: the columns {found} may all be the {known[0]}. Rename the right one {known[0]}.")
    return next(iter([*exact, *places]), None)


def _word(name: str) -> str:
    """Without capitals and what is between words: ``Video Path`` and ``video_path`` are one."""
    return re.sub(r"[\W_]+", "", name.lower())
