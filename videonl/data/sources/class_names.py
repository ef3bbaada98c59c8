"""Files with the names of numeric labels: ``classes.txt`` beside a list, or one that the user names."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.list_lines import Line, content_lines, fields_of
from videonl.data.sources.several import joined, labels_of
from videonl.errors import UserError

BESIDE = "classes.txt"
_NUMBERED = re.compile(r"(c(?=\d{3}\b))?(?P<number>\d+)(\s*[,;\t]\s*|\s+)(?P<name>\S.*)")
_log = logging.getLogger(__name__)


def read_class_names(path: Path) -> dict[str, str]:
    """The names of classes by number, in the order of the numbers.

    One name per line, whose number is that of the line, from 0; or ``number name`` or ``number,name`` on every line, as
    ``classInd.txt`` of UCF101 has it, where a first line such as ``id,name`` is a header; or ``c000 name``.

    Raises:
        UserError: The file cannot be read, is empty, or names a class or a number twice.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of class names. Name one, or write the names as '[run, walk]'.")
    lines = content_lines(path)
    if lines and lines[0].text.startswith(("{", "[")):
        raise UserError(f"{path}: is JSON, but class names are read from text. Write one name per line.")
    header = lines[0] if len(lines) > 1 and not _NUMBERED.match(lines[0].text) else None
    rows = lines[1:] if header and all(_NUMBERED.match(line.text) for line in lines[1:]) else lines
    if all(_NUMBERED.match(line.text) for line in rows):
        pairs = [_numbered(line, has_more=header is not None and header.text.count(",") > 1) for line in rows]
    else:
        pairs = [(str(number), line.text) for number, line in enumerate(lines)]
    if not pairs:
        raise UserError(f"{path}: names no class. Write one name per line.")
    for twice in zip(*pairs, strict=True):
        repeated = sorted({word for word in twice if twice.count(word) > 1})
        if repeated:
            raise UserError(f"{path}: has {', '.join(repeated)} more than once. Correct it.")
    return dict(sorted(pairs, key=lambda pair: int(pair[0])))


def named_by_file(entries: Sequence[LabeledPath], list_file: Path, classes: Path | None) -> list[LabeledPath]:
    """Replaces labels by names if all labels are numbers and a file names them.

    Args:
        entries: The videos of a list.
        list_file: The list, beside which ``classes.txt`` may lie.
        classes: The file of names, if another is meant.

    Raises:
        UserError: A number has no name.
    """
    beside = list_file.with_name(BESIDE)
    names_file = classes or (beside if beside.is_file() and beside != list_file else None)
    labels = [labels_of(entry.label or "") if entry.label else () for entry in entries]
    other = next((label for each in labels for label in each if not label.isdecimal()), None)
    if names_file is None or not any(labels) or other is not None or any(entry.label is None for entry in entries):
        if classes and other is not None:
            _log.warning("%s: %s names none of the labels, which are no numbers, such as %r", list_file, classes, other)
        return list(entries)
    names = read_class_names(names_file)
    _log.info("%s: the names of the labels come from %s", list_file, names_file)
    return [_named(entry, each, names, names_file) for entry, each in zip(entries, labels, strict=True)]


def _named(entry: LabeledPath, labels: Sequence[str], names: dict[str, str], names_file: Path) -> LabeledPath:
    numbers = [str(int(label)) for label in labels]
    for label, number in zip(labels, numbers, strict=True):
        if number not in names:
            raise UserError(f"{entry.origin}: label {label} is not a class number in {names_file}. Correct it.")
    return entry._replace(label=joined(names[number] for number in numbers), number=joined(numbers))


def _numbered(line: Line, has_more: bool) -> tuple[str, str]:
    """Number and name of a line that may have more columns, as those of EPIC-Kitchens have."""
    if has_more:
        number, name = fields_of(line, ",")[:2]
        return str(int(number)), name
    match = _NUMBERED.fullmatch(line.text)
    assert match is not None
    return str(int(match["number"])), match["name"].strip('"')
