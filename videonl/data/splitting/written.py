"""A list of one's own from the rows of any source: ``path,label,split``, segments, and other columns."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from videonl.data.reading.segment import COLUMNS as TIMES
from videonl.data.reading.segment import segment_of, whole_of
from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.url_path import UrlPath, Where
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.formats import format_of
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.list_lines import content_lines
from videonl.data.sources.options import Reading
from videonl.data.sources.several import joined, labels_of, looks_like_several
from videonl.errors import UserError
from videonl.files import whole_path


def write_list(
    out: Path, entries: Sequence[LabeledPath], others: Sequence[tuple[str, Sequence[str]]], root: Where | None
) -> None:
    """Writes a CSV list, completely or not at all, that reads as these videos: it is read back before it is there.

    Paths are relative to the root, or without one to the folder of the list, where they lie below; else absolute.

    Args:
        out: The list.
        entries: Videos with labels and splits.
        others: More columns: the name of each, and its values.
        root: What relative paths are relative to.

    Raises:
        UserError: A video cannot be named in a list, such as one in a shard, or the list cannot be written.
    """
    base = root or Path(os.path.abspath(out)).parent
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    times = time_columns(entries)
    writer.writerow(["path", "label", "split", *times, *(name for name, _ in others)])
    for place, entry in enumerate(entries):
        segment = segment_of(entry.path)
        cells = segment.columns() if segment else {}
        written = ["" if (cell := cells.get(name)) is None else repr(cell) for name in times]
        more = [values[place] for _, values in others]
        writer.writerow([_path(entry, base), as_written(entry.label or ""), entry.split, *written, *more])
    with whole_path(out) as unfinished:
        unfinished.write_bytes(_encoded(text.getvalue(), out))
        _check(unfinished, entries, base)


def as_written(label: str) -> str:
    """A label as a list must have it: a name that looks like several labels becomes a list of one.

    >>> as_written("run"), as_written('["run", "wave"]'), as_written("stop|go")
    ('run', '["run", "wave"]', '["stop|go"]')
    """
    if not looks_like_several(label):
        return label
    try:
        return joined(labels_of(label)) if label.startswith("[") else joined([label])
    except ValueError:  # a class folder may be called so
        return joined([label])


def time_columns(entries: Sequence[LabeledPath]) -> list[str]:
    """The columns in which a list has the segments of these videos.

    Raises:
        UserError: Some are in seconds, and others in frames.
    """
    units = {segment.in_frames: entry for entry in entries if (segment := segment_of(entry.path))}
    if len(units) > 1:
        raise UserError(
            f"{units[True].origin}: its segment is in frames, but that of {units[False].origin} in seconds; one list "
            "has either. Split the sources one by one."
        )
    return [name for name in TIMES if units and name.endswith("_frame") == next(iter(units))]


def _path(entry: LabeledPath, base: Where) -> str:
    file = whole_of(entry.path)
    if isinstance(file, ShardMember) and not isinstance(file, UrlPath):
        raise UserError(
            f"{entry.origin}: lies in a shard, which a list cannot name. Split the videos before they are packed."
        )
    below = f"{base}/"
    path = str(file).removeprefix(below)
    if set(f"{path}{entry.label}") & set("\n\r"):
        raise UserError(f"{entry.origin!r}: has a line break in its name, which no list can hold. Rename it.")
    return f"./{path}" if path.startswith(("#", "~")) else path  # else it would be a comment, or a home folder


def _encoded(text: str, out: Path) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise UserError(
            f"{out}: row {line} names a file or class that is no UTF-8, as lists must be. Rename it."
        ) from error


def _check(path: Path, entries: Sequence[LabeledPath], base: Where) -> None:
    file = ListFile(path, content_lines(path), Reading(base))
    read = format_of(file).read(file)
    for entry, again in zip(entries, read, strict=False):
        if _facts(entry) != _facts(again):
            raise UserError(f"{entry.origin}: {_facts(entry)} would be read as {_facts(again)} in a list. Rename it.")
    if len(read) != len(entries):
        raise UserError(f"{path}: {len(entries)} videos would be read as {len(read)}. Rename files with line breaks.")


def _facts(entry: LabeledPath) -> tuple[str, str, str, str]:
    place = whole_of(entry.path)
    file = str(place) if isinstance(place, UrlPath) else os.path.normpath(os.path.abspath(str(place)))
    return file, as_written(entry.label or ""), entry.split, str(segment_of(entry.path) or "")
