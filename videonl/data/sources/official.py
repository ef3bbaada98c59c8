"""The official lists of UCF101, HMDB51 and Something-Something, read as they are published.

============================ ======================================= ==============================================
data set                     the source                              what it says
============================ ======================================= ==============================================
UCF101                       ``trainlist01.txt``                     ``CLASS/v_x.avi 1``; test lists without number
HMDB51                       ``'*_test_split1.txt#train'``           a file of each class: ``x.avi 1``, where 1 is
                                                                     training, 2 is test and 0 is not used
Something-Something V2       ``something-...-train.json``            ``id`` and ``template``; files are ``ID.webm``
============================ ======================================= ==============================================
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from videonl.data.reading.url_path import Where
from videonl.data.sources.class_names import read_class_names
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.list_lines import check_length, content_lines
from videonl.errors import UserError

_UCF = re.compile(r"(train|val|test)list\d*\.txt")
_UCF_ROW = re.compile(r"(?P<path>(?P<label>[^/]+)/[^/]+\.\w+)([ \t]+(?P<number>\d+))?")
_HMDB = re.compile(r"(?P<label>.+)_test_split(?P<split>\d)\.txt")
_HMDB_ROW = re.compile(r"(?P<name>\S.*?)[ \t]+(?P<flag>[012])")
_HMDB_SPLITS = {"1": "train", "2": "test"}
_CLASSES_BESIDE = ("classInd.txt", "classes.txt")
_SOMETHING_KEYS = frozenset(("id", "label", "template", "placeholders"))
_SOMETHING_LABELS = ("something-something-v2-labels.json", "labels.json")


def is_ucf101(file: ListFile) -> bool:
    """Whether it is ``trainlist01.txt``, or a list of that form and name."""
    return bool(_UCF.fullmatch(file.path.name)) and all(_UCF_ROW.fullmatch(line.text) for line in file.lines)


def read_ucf101(file: ListFile) -> list[LabeledPath]:
    """The rows of a list of UCF101, whose class is the folder; its number is that of ``classInd.txt``, if it is there.

    Raises:
        UserError: A class has no number in that file.
    """
    numbers = _numbers_beside(file.path)
    entries = []
    for line in file.lines:
        row = _UCF_ROW.fullmatch(line.text)
        assert row is not None
        check_length(row["path"], line.origin)
        number = numbers.get(row["label"].lower(), "")
        if numbers and not number:
            raise UserError(f"{line.origin}: the class {row['label']} is not in classInd.txt beside it. Correct one.")
        entries.append(LabeledPath(file.base / row["path"], row["label"], line.origin, number=number))
    return entries


def _numbers_beside(path: Path) -> dict[str, str]:
    # Without capitals: the folders of UCF101 are not written as its index is, as in HandStandPushups.
    for name in _CLASSES_BESIDE:
        if path.with_name(name).is_file():
            return {label.lower(): number for number, label in read_class_names(path.with_name(name)).items()}
    return {}


def is_hmdb51(paths: Sequence[Path]) -> bool:
    """Whether these are all files ``CLASS_test_splitN.txt``."""
    return bool(paths) and all(_HMDB.fullmatch(path.name) for path in paths)


def read_hmdb51(paths: Sequence[Path], root: Where | None) -> list[LabeledPath]:
    """The rows of the files of one split of HMDB51: a video is ``CLASS/NAME`` below the root.

    Args:
        paths: A file for each class.
        root: The folder of the class folders; by default the one that the files are in.

    Raises:
        UserError: The files are of several splits, or a row is malformed.
    """
    named = [(path, _HMDB.fullmatch(path.name)) for path in sorted(paths)]
    splits = sorted({match["split"] for _, match in named if match})
    if len(splits) > 1:
        raise UserError(
            f"{paths[0].parent}: files of the splits {', '.join(splits)} are named; name those of one, as in "
            f"'*_test_split{splits[0]}.txt'"
        )
    return [entry for path, match in named if match for entry in _of_class(path, match["label"], root or path.parent)]


def _of_class(path: Path, label: str, base: Where) -> list[LabeledPath]:
    entries = []
    for line in content_lines(path):
        row = _HMDB_ROW.fullmatch(line.text)
        if row is None:
            raise UserError(f"{line.origin}: must be a file's name and 0, 1 or 2, but reads {line.text!r}. Correct it.")
        check_length(row["name"], line.origin)
        if row["flag"] in _HMDB_SPLITS:
            split = _HMDB_SPLITS[row["flag"]]
            entries.append(LabeledPath(base / f"{label}/{row['name']}", label, line.origin, split))
    return entries


def is_something(file: ListFile) -> bool:
    """Whether it is a JSON list of Something-Something V2: an id, and but for the test list a template, per video."""
    rows = file.content if file.is_json else None
    return isinstance(rows, list) and all(
        isinstance(row, dict) and row.get("id") and row.keys() <= _SOMETHING_KEYS for row in rows
    )


def read_something(file: ListFile) -> list[LabeledPath]:
    """The rows of a JSON list of Something-Something V2; those of its test list have no label.

    The class is the template without brackets. Its number is that of the file of labels, if that lies beside.

    Raises:
        UserError: It lists nothing, or a class is not in the file of labels.
    """
    if not file.content:
        raise UserError(f"{file.path}: no videos listed. Copy it again.")
    numbers = _something_numbers(file.path)
    entries = []
    for place, row in enumerate(file.content, start=1):
        origin = f"{file.path}: item {place}"
        template = row.get("template")
        label = None if template is None else re.sub(r"[\[\]]", "", str(template))
        if label is not None and numbers and label not in numbers:
            raise UserError(f"{origin}: the class {label!r} is not in the file of labels beside it. Correct one.")
        name = f"{row['id']}.webm"
        check_length(name, origin)
        entries.append(LabeledPath(file.base / name, label, origin, number=numbers.get(label or "", "")))
    return entries


def _something_numbers(path: Path) -> dict[str, str]:
    for name in _SOMETHING_LABELS:
        beside = path.with_name(name)
        if not os.path.isfile(beside) or beside == path:
            continue
        try:
            content = json.loads(beside.read_text(encoding="utf-8-sig"))
            return {str(label): str(int(number)) for label, number in content.items()}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UserError(f"{beside}: is no file of labels and their numbers ({error}). Copy it again.") from error
    return {}
