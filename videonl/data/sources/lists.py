"""List files: ``path label``, ``path,label``, with or without a header; mmaction2's ``folder num_frames label``."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from videonl.data.sources.entry import LabelledPath, is_video_name
from videonl.data.sources.kinetics import is_kinetics_header, read_kinetics
from videonl.errors import UserError

_NUM_PROBED_FILES = 20
_NUM_SHOWN = 10
_FRAMES_AND_LABEL = re.compile(r"(?P<folder>.+?)\s+(?P<num_frames>\d+)\s+(?P<label>\d+)")


def read_list(path: Path, split: str | None, root: Path | None) -> list[LabelledPath]:
    """Read a list file; see :func:`videonl.data.sources.labelled.read_source` for what it may hold.

    Args:
        path: The file.
        split: The value of the column ``split`` to select; all rows without it.
        root: What relative paths are relative to; by default the folder of the file.

    Raises:
        UserError: The list is malformed, empty, has no such split, or none of the first files exists.
    """
    rows = list(_content_lines(path))
    header = _header(rows[0][1]) if rows else None
    base = root or path.parent
    lines = rows[1:] if header else rows
    if not lines:
        raise UserError(f"{path}: no videos listed. Write one 'path label' per line.")
    if header and is_kinetics_header(header):
        everything = read_kinetics(path, [(number, _columns(header, line)) for number, line in lines], base)
    else:
        everything = [_read_row(line, header, f"{path}:{number}", base) for number, line in lines]
        _check_files(path, everything, base)
    entries = [entry for entry in everything if split is None or entry.split == split]
    _check_split(path, split, header, [entry.split for entry in everything])
    return entries


def shorten(names: Sequence[str]) -> str:
    """The first few names, with commas between.

    >>> shorten(["run", "walk"])
    'run, walk'
    """
    return ", ".join(names[:_NUM_SHOWN]) + (", ..." if len(names) > _NUM_SHOWN else "")


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


def _columns(header: Sequence[str], line: str) -> dict[str, str]:
    return dict(zip(header, _fields(line), strict=False))


def _header(line: str) -> list[str] | None:
    names = [name.lower() for name in (_fields(line) if "," in line else line.split())]
    return names if {"path", "label"} <= set(names) or is_kinetics_header(names) else None


def _read_row(line: str, header: Sequence[str] | None, origin: str, base: Path) -> LabelledPath:
    if header and "," in line:
        columns = _columns(header, line)
        video, label, split = (columns.get(name, "") for name in ("path", "label", "split"))
    else:
        video, label = _parse_pair(line, origin, base)
        split = ""
    if not video or not label:
        raise UserError(f"{origin}: needs a path and a label, but reads {line!r}. Write 'path label' or 'path,label'.")
    return LabelledPath(base / Path(video).expanduser(), label, origin, split)


def _parse_pair(line: str, origin: str, base: Path) -> tuple[str, str]:
    frames = _FRAMES_AND_LABEL.fullmatch(line)
    if frames and (base / frames["folder"]).is_dir():
        return frames["folder"], frames["label"]
    words = line.rsplit(maxsplit=1)
    # Both paths and labels may contain commas and spaces; what ends in a video suffix is certainly the path.
    if len(words) == 2 and ("," not in line or is_video_name(Path(words[0]).name)):
        return words[0], words[1]
    fields = _fields(line)
    if len(fields) > 2:
        raise UserError(
            f"{origin}: {len(fields)} columns and no header. Begin the file with one that names path and label."
        )
    return fields[0], fields[1] if len(fields) == 2 else ""


def _check_split(path: Path, split: str | None, header: Sequence[str] | None, splits: Sequence[str]) -> None:
    if split is None or split in splits:
        return
    if header is None or "split" not in header:
        raise UserError(f"{path}: '#{split}' needs a header row with a column 'split', and there is none.")
    raise UserError(f"{path}: no rows with split {split!r}. The splits are: {shorten(sorted(set(splits)))}.")


def _check_files(path: Path, entries: Sequence[LabelledPath], base: Path) -> None:
    # Every file is not checked: on network storage that takes minutes, and the reader reports a missing one by name.
    if not any(Path(str(entry.path)).exists() for entry in entries[:_NUM_PROBED_FILES]):
        raise UserError(
            f"{path}: none of the first files listed exists, e.g. {entries[0].path} ({entries[0].origin}). "
            f"Relative paths were taken relative to {base}; set --data.root to the folder they are relative to."
        )
