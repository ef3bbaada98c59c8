"""Which videos there are and what class each has: read from class folders or from a list file."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from videonl.errors import UserError

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".gif", ".wmv", ".flv"))
_NUM_PROBED_FILES = 20
_NUM_SHOWN = 10


@dataclass(frozen=True)
class Video:
    """A video file and its class.

    Args:
        path: Where the file is.
        label: Index into the class list, from 0.
    """

    path: Path
    label: int


class LabelledPath(NamedTuple):
    """A video file with its label as written, and where that was written (``clips.csv:12``, or the file itself)."""

    path: Path
    label: str
    origin: str


def read_source(source: str, root: Path | None = None) -> list[LabelledPath]:
    """List the labelled videos of a folder or of a list file.

    A folder holds one folder per class (``class/clip.mp4``). A list file holds one video per line, ``path label`` or
    ``path,label``; blank lines and lines that start with ``#`` are skipped. Space-separated paths may contain spaces:
    the label is the last word. A comma-separated file may begin with a header that names at least ``path`` and
    ``label``, and if it has a column ``split``, then ``clips.csv#train`` takes the rows of that split.

    Args:
        source: Folder or list file, the latter optionally with ``#split``.
        root: What relative paths are relative to: the source itself, and the paths in a list. Without it the source is
            relative to the current folder and the paths in a list to the folder the list is in.

    Returns:
        The videos, in the order of the list, or sorted by class and name for a folder.

    Raises:
        UserError: Something is missing or malformed. The message names it and the remedy.
    """
    path, split = _locate(source, root)
    if not path.is_dir():
        return _read_list(path, split, root)
    if split is not None:
        raise UserError(
            f"{source}: '#{split}' selects rows of a list file, but {path} is a folder. Name {path}/{split}?"
        )
    return _read_class_folders(path)


def class_list(labels: Sequence[str]) -> list[str]:
    """The distinct labels, sorted: as numbers if every one is an integer, else as text.

    >>> class_list(["10", "9", "10"])
    ['9', '10']
    """
    distinct = set(labels)
    if all(label.removeprefix("-").isdecimal() for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)


def assign(labelled: Sequence[LabelledPath], classes: Sequence[str]) -> list[Video]:
    """Replace each label by its index in ``classes``.

    Raises:
        UserError: A label is not among the classes.
    """
    index_of = {name: index for index, name in enumerate(classes)}
    for entry in labelled:
        if entry.label not in index_of:
            raise UserError(
                f"{entry.origin}: label {entry.label!r} is none of the {len(classes)} classes ({_shorten(classes)}). "
                "Correct the label, or add it to the classes (--data.classes, or the training videos)."
            )
    return [Video(entry.path, index_of[entry.label]) for entry in labelled]


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:_NUM_SHOWN]) + (", ..." if len(names) > _NUM_SHOWN else "")


def _locate(source: str, root: Path | None) -> tuple[Path, str | None]:
    if root is not None and not root.is_dir():
        raise UserError(f"{root}: no such folder. Correct --data.root.")
    base = root or Path()
    whole = base / Path(source).expanduser()
    if whole.exists():  # a name may contain '#' itself
        return whole, None
    name, hash_sign, split = source.rpartition("#")
    if hash_sign and (base / Path(name).expanduser()).exists():
        return base / Path(name).expanduser(), split
    missing = base / Path(name if hash_sign else source).expanduser()
    hint = f" (relative sources are taken relative to --data.root {root})" if root else ""
    raise UserError(f"{missing}: no such folder or list file{hint}. Name a folder of class folders, or a CSV list.")


def _read_class_folders(folder: Path) -> list[LabelledPath]:
    class_folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not class_folders:
        raise UserError(f"{folder}: no class folders in it. Arrange the videos as {folder}/CLASS/CLIP.mp4.")
    return [entry for class_folder in class_folders for entry in _read_class_folder(class_folder)]


def _read_class_folder(folder: Path) -> list[LabelledPath]:
    videos = sorted(path for path in folder.iterdir() if _is_video_name(path.name) and path.is_file())
    if not videos:
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        raise UserError(f"{folder}: no videos in this class folder ({suffixes}). Add some, or remove the folder.")
    return [LabelledPath(path, folder.name, str(path)) for path in videos]


def _is_video_name(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")


def _read_list(path: Path, split: str | None, root: Path | None) -> list[LabelledPath]:
    rows = list(_content_lines(path))
    header = _header(rows[0][1]) if rows else None
    base = root or path.parent
    splits: list[str] = []
    entries = []
    for line_number, line in rows[1:] if header else rows:
        video, label, row_split = _parse_row(line, header, f"{path}:{line_number}")
        splits.append(row_split)
        if split is None or row_split == split:
            entries.append(LabelledPath(base / Path(video).expanduser(), label, f"{path}:{line_number}"))
    _check_split(path, split, header, splits)
    _check_entries(path, entries, base)
    return entries


def _content_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable text file ({error}). Name a list of 'path label' lines.") from error
    for line_number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield line_number, line.strip()


def _fields(line: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line], skipinitialspace=True))]


def _header(line: str) -> list[str] | None:
    names = [name.lower() for name in (_fields(line) if "," in line else line.split())]
    return names if {"path", "label"} <= set(names) else None


def _parse_row(line: str, header: list[str] | None, origin: str) -> tuple[str, str, str]:
    """Split one line into (path, label, split); split is empty where there is none."""
    if header and "," in line:
        columns = dict(zip(header, _fields(line), strict=False))
        path, label, split = (columns.get(name, "") for name in ("path", "label", "split"))
    else:
        path, label = _parse_pair(line, origin)
        split = ""
    if not path or not label:
        raise UserError(f"{origin}: needs a path and a label, but reads {line!r}. Write 'path label' or 'path,label'.")
    return path, label, split


def _parse_pair(line: str, origin: str) -> tuple[str, str]:
    words = line.rsplit(maxsplit=1)
    # Both paths and labels may contain commas and spaces; what ends in a video suffix is certainly the path.
    if len(words) == 2 and ("," not in line or _is_video_name(Path(words[0]).name)):
        return words[0], words[1]
    fields = _fields(line)
    if len(fields) > 2:
        raise UserError(
            f"{origin}: {len(fields)} columns and no header. Begin the file with one that names path and label."
        )
    return fields[0], fields[1] if len(fields) == 2 else ""


def _check_split(path: Path, split: str | None, header: list[str] | None, splits: Sequence[str]) -> None:
    if split is None or split in splits:
        return
    if header is None or "split" not in header:
        raise UserError(f"{path}: '#{split}' needs a header row with a column 'split', and there is none.")
    raise UserError(f"{path}: no rows with split {split!r}. The splits are: {_shorten(sorted(set(splits)))}.")


def _check_entries(path: Path, entries: Sequence[LabelledPath], base: Path) -> None:
    if not entries:
        raise UserError(f"{path}: no videos listed. Write one 'path label' per line.")
    # Every file is not checked: on network storage that takes minutes, and the reader reports a missing one by name.
    if not any(entry.path.exists() for entry in entries[:_NUM_PROBED_FILES]):
        raise UserError(
            f"{path}: none of the first files listed exists, e.g. {entries[0].path} ({entries[0].origin}). "
            f"Relative paths were taken relative to {base}; set --data.root to the folder they are relative to."
        )
