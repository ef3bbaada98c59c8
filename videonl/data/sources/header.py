"""The first line of a list, where it names the columns."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from videonl.errors import UserError

_PATH = (
    *("path", "filepath", "filename", "file", "video", "videopath", "videofile", "videoname", "clip", "clippath"),
    *("clipname", "clipfile", "relativepath", "relpath", "fullpath", "folder", "framedir", "framefolder", "framespath"),
)
_LABEL = (
    *("label", "class", "classname", "labelname", "category", "action", "activity", "actionlabel", "classlabel"),
    *("actionname", "categoryname", "gesture", "target", "labels", "classid", "classindex", "classidx", "labelid"),
    *("labelindex", "labelidx", "actionid", "categoryid", "classes", "categories", "actions", "tags"),
)
_SPLIT = ("split", "subset", "partition")
_AFFIXES = ("{}", "{}time", "time{}", "t{}", "{}timestamp", "{}s", "{}sec", "{}secs", "{}second", "{}seconds", "{}t")
_START, _END = (
    (*(affix.format(word) for word in words for affix in _AFFIXES), other)
    for words, other in ((("start", "begin", "onset"), "from"), (("end", "stop"), "to"))
)
_START_FRAME = ("startframe", "framestart", "beginframe", "startframeindex", "startframeidx")
_END_FRAME = ("endframe", "frameend", "stopframe", "endframeindex", "endframeidx")
_TIME_WORDS = frozenset(
    (
        "start",
        "end",
        "begin",
        "stop",
        "finish",
        "onset",
        "offset",
        "segment",
        "segments",
        "temporal",
        "interval",
        "span",
    )
)
_TIME = re.compile(
    r"(t|frame|time)?(start|end|begin|stop)(ing)?(time|frame|seconds?|secs?|ms|s)?"
    r"|(first|last)frame|from|to|times?|timestamps?|t[0-9]|(time)?(in|out)(point|time)?|intervals?|spans?|seconds"
)
_SEVERAL = re.compile(r"(labels|classes|categories|actions|tags)|(label|class|category|action|tag)\d+")
_REMEDY = "Name the right ones by --data.columns (or --columns), as path=filename,label=class"


class Header(NamedTuple):
    """Where the columns are.

    Attributes:
        names: What the columns are called, as written.
        path: The place of the path.
        label: The place of the label; None where there is none.
        split: The place of the split; None where there is none.
        times: The places of start and end; None where there are none.
        in_frames: Whether those hold numbers of frames.
        classes: The places of columns that hold 0 or 1 for a class each.
    """

    names: list[str]
    path: int
    label: int | None = None
    split: int | None = None
    times: tuple[int, int] | None = None
    in_frames: bool = False
    classes: tuple[int, ...] = ()


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


def name_a_column(names: Sequence[str]) -> bool:
    """Whether one of these words is a name of a column of paths or labels, so that they may all be such names.

    >>> name_a_column(["clip_id", "label"]), name_a_column(["a.mp4", "run"])
    (True, False)
    """
    return any(_word(name) in (*_PATH, *_LABEL) for name in names)


def names_path_and_classes(names: Sequence[str]) -> bool:
    """Whether one of these words is a name of a column of paths, and no other is known or a number.

    >>> names_path_and_classes(["video", "run", "wave"]), names_path_and_classes(["video", "1"])
    (True, False)
    """
    words = [_word(name) for name in names if name]
    return sum(word in _PATH for word in words) == 1 < len(words) and not any(word.isdecimal() for word in words)


def header_of(names: list[str], origin: str, columns: Mapping[str, str] | None = None) -> Header:
    """Finds the columns by their names: path, label, split, start and end, or one column for each class.

    Args:
        names: What the columns are called.
        origin: Where the header is, for messages.
        columns: What some are called, by what they hold, as the user says.

    Raises:
        UserError: There is no column of paths, or none of labels, or more than one, or one that is not understood.
    """
    columns = columns or {}
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{origin}: the header names {', '.join(twice)} more than once. Rename or remove one.")
    given = {key: _given(name, names, origin) for key, name in columns.items()}
    words = [_word(name) for name in names]
    if "label" not in given:
        _refuse_several(names, words, origin)
    path, label, split = (
        given[known[0]] if known[0] in given else _place(words, known, names, origin)
        for known in (_PATH, _LABEL, _SPLIT)
    )
    times, in_frames = _times(names, words, given, origin)
    if path is None:
        raise _no_column("paths (path)", names, origin)
    aside = {path, split, *(times or ()), *given.values(), *_looking_like_time(names)}
    others = tuple(place for place, name in enumerate(names) if place not in aside and name)
    classes = others if label is None and "label" not in given else ()
    return Header(names, path, label, split, times, in_frames, classes)


def no_label_column(header: Header, origin: str, why: str) -> UserError:
    """What to say where the columns that are left are none of classes."""
    return _no_column("labels (label)", header.names, origin, why)


def _no_column(missing: str, names: Sequence[str], origin: str, why: str = "") -> UserError:
    return UserError(
        f"{origin}: no column of {missing} is among the columns {', '.join(names)}{why}. {_REMEDY}; or, if this line "
        "is not a header, add one that names path and label before it."
    )


def _given(name: str, names: Sequence[str], origin: str) -> int | None:
    lowered = [each.lower() for each in names]
    if name and name.lower() not in lowered:
        raise UserError(f"{origin}: --data.columns names {name}, but the columns are {', '.join(names)}. Correct one.")
    return (names.index(name) if name in names else lowered.index(name.lower())) if name else None


def _refuse_several(names: Sequence[str], words: Sequence[str], origin: str) -> None:
    several = [name for name, word in zip(names, words, strict=True) if _SEVERAL.fullmatch(word)]
    if len(several) > 1 or (several and any(word in _LABEL for word in words if not _SEVERAL.fullmatch(word))):
        raise UserError(
            f"{origin}: the columns {', '.join(several)} look like several columns of labels. Write the labels of a "
            "video into one column, as run;wave, or name the one to read: --data.columns label=NAME (or --columns)."
        )


def _times(
    names: Sequence[str], words: Sequence[str], given: Mapping[str, int | None], origin: str
) -> tuple[tuple[int, int] | None, bool]:
    """Where start and end are, and whether they are in frames."""
    asked = {"start", "end", "start_frame", "end_frame"} & set(given)
    for start, end, known in (
        ("start", "end", (_START, _END)),
        ("start_frame", "end_frame", (_START_FRAME, _END_FRAME)),
    ):
        if asked and not asked & {start, end}:
            continue
        places = [
            given.get(key) if asked else _place(words, each, names, origin)
            for key, each in zip((start, end), known, strict=True)
        ]
        if None not in places:
            return (places[0], places[1]), start == "start_frame"  # type: ignore[return-value]  # neither is None
        if asked and places == [None, None] and asked <= {start, end}:
            return None, False
        if places != [None, None] or asked:
            shown = ", ".join(names[place] for place in places if place is not None)
            raise UserError(
                f"{origin}: the column {shown} needs the other end of each segment beside it, in the same unit. Among "
                f"the columns {', '.join(names)}, name both: --data.columns {start}=NAME,{end}=NAME (or --columns); "
                f"if each file is already one clip, {start}=,{end}="
            )
    unread = [] if asked else [names[place] for place in _looking_like_time(names)]
    if unread:
        raise UserError(
            f"{origin}: the columns {', '.join(unread)} look like a part of each video, but are not understood. Name "
            "them: --data.columns start=NAME,end=NAME in seconds, or start_frame=NAME,end_frame=NAME (or --columns); "
            "if each file is already one clip, start=,end="
        )
    return None, False


def _looking_like_time(names: Sequence[str]) -> list[int]:
    return [place for place, name in enumerate(names) if _looks_like_time(name)]


def _looks_like_time(name: str) -> bool:
    apart = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return bool(_TIME.fullmatch(_word(name)) or _TIME_WORDS & set(re.split(r"[^a-z]+", apart)))


def _place(words: Sequence[str], known: Sequence[str], names: Sequence[str], origin: str) -> int | None:
    places = [place for place, word in enumerate(words) if word in known]
    exact = [place for place in places if words[place] == known[0]]
    if len(places) > 1 and not exact:
        found = ", ".join(names[place] for place in places)
        raise UserError(
            f"{origin}: the columns {found} may all be the {known[0]}. Name the right one: --data.columns "
            f"{known[0]}=NAME (or --columns)."
        )
    return next(iter([*exact, *places]), None)


def _word(name: str) -> str:
    """Without capitals and what is between words: ``Video Path`` and ``video_path`` are one."""
    return re.sub(r"[\W_]+", "", name.lower())
