"""Charades' CSV: ``id`` and ``actions`` as ``c092 11.90 21.20;...``, and files ``ID.mp4`` somewhere below a folder."""

import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

from videonl.data.reading.segment import VideoPart
from videonl.data.reading.url_path import Where
from videonl.data.sources.class_names import read_class_names
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.finding import VideosBelow, require_some
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.several import joined
from videonl.data.sources.times import read_segment
from videonl.errors import UserError

_NAMES_BESIDE = "Charades_v1_classes.txt"
_ACTION = re.compile(r"(?P<code>c\d{3}) (?P<start>\S+) (?P<end>\S+)")
_log = logging.getLogger(__name__)


class _Action(NamedTuple):
    code: str
    start: str
    end: str


def is_charades(file: ListFile) -> bool:
    """Whether it has the columns of an official list of Charades."""
    return file.words >= {"id", "actions", "length"}


def read_charades(file: ListFile) -> list[LabeledPath]:
    """Every video with all its classes, as Charades is scored; or segments, with ``--data.columns segments=actions``.

    A video may have no class. Codes get the names of ``Charades_v1_classes.txt``, or of the file that the user names.

    Raises:
        UserError: A row has no id, an action is malformed or of no class, or no file exists.
    """
    videos, names = VideosBelow(file.base), _names(file)
    asked = file.reading.columns.get("segments")
    if asked not in (None, "", "actions"):
        raise UserError(f"{file.path}: has no column of segments {asked}. Write --data.columns segments=actions.")
    entries, num_empty = [], 0
    for origin, row in file.rows():
        path, actions = _video(row, origin, videos), _actions(row["actions"], origin, names)
        entries += _segments(path, actions, origin, names) if asked else [_whole(path, actions, origin, names)]
        num_empty += not actions
    if asked and num_empty:
        _log.warning("%s: left out %d videos without actions", file.path, num_empty)
    if not entries:
        raise UserError(f"{file.path}: none of its videos has an action, so there are no segments. Remove segments=.")
    require_some(file.path, entries, videos)
    return entries


def _video(row: Mapping[str, str], origin: str, videos: VideosBelow) -> Where:
    if not row["id"]:
        raise UserError(f"{origin}: has no id. Correct the row, or leave it out.")
    return videos.find((row["id"],), f"{row['id']}.mp4")


def _whole(path: Where, actions: list[_Action], origin: str, names: Mapping[str, str]) -> LabeledPath:
    codes = list(dict.fromkeys(action.code for action in actions))
    numbers = joined(_number(code) for code in codes) if names else ""
    return LabeledPath(path, joined(names.get(code, code) for code in codes), origin, clip_id=path.stem, number=numbers)


def _segments(path: Where, actions: list[_Action], origin: str, names: Mapping[str, str]) -> list[LabeledPath]:
    entries = []
    for place, action in enumerate(actions, start=1):
        at = f"{origin}, action {place}"
        segment = read_segment(action.start, action.end, False, at)
        assert segment is not None
        number = _number(action.code) if names else ""
        label = names.get(action.code, action.code)
        entries.append(LabeledPath(VideoPart(path, segment), label, at, clip_id=path.stem, number=number))
    return entries


def _actions(text: str, origin: str, names: Mapping[str, str]) -> list[_Action]:
    actions = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        found = _ACTION.fullmatch(part)
        if found is None:
            raise UserError(f"{origin}: the action {part!r} is not written as 'c092 11.90 21.20'. Correct it.")
        if names and found["code"] not in names:
            raise UserError(f"{origin}: {found['code']} is not in the file of class names. Correct one.")
        actions.append(_Action(found["code"], found["start"], found["end"]))
    return actions


def _names(file: ListFile) -> dict[str, str]:
    path = file.reading.classes or file.path.with_name(_NAMES_BESIDE)
    if not path.is_file():
        return {}
    return {f"c{int(number):03d}": name for number, name in read_class_names(path).items()}


def _number(code: str) -> str:
    return str(int(code[1:]))
