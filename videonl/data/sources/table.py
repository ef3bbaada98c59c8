"""A list of one's own with a header: ``path,label``, with ``split``, ``start`` and ``end``, or a column per class."""

import os
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import fsspec

from videonl.data.reading.segment import part_of
from videonl.data.reading.shard_member import is_url
from videonl.data.reading.url_path import UrlPath, Where
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.header import Header, header_of, names_columns, names_path_and_classes, no_label_column
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.list_lines import Line, check_length
from videonl.data.sources.rows import parse_row
from videonl.data.sources.several import as_one_text, joined, looks_like_several
from videonl.data.sources.times import read_segment
from videonl.errors import UserError

_BINARY = {"0": False, "1": True, "0.0": False, "1.0": True, "False": False, "True": True}


class Written(NamedTuple):
    """A row as it is written: where, and its path, label, split, start and end."""

    line: Line
    video: str
    label: str | None
    split: str = ""
    times: tuple[str, str] = ("", "")


def is_table(file: ListFile) -> bool:
    """Whether the first line names the columns: by words that are known, as the user says, or one for each class."""
    if file.reading.columns or names_columns(file.names):
        return True
    if not names_path_and_classes(file.names) or len(file.lines) < 2:
        return False
    header = header_of(file.names, file.lines[0].origin)
    return all(file.fields(line)[place] in _BINARY for line in file.body for place in header.classes)


def read_table(file: ListFile) -> list[LabeledPath]:
    """The rows below a header.

    Raises:
        UserError: A column is missing or not understood, or a row is malformed.
    """
    header = header_of(file.names, file.lines[0].origin, file.reading.columns)
    rows = [_written(line, file, header) for line in file.body]
    if any(row.label and looks_like_several(row.label) for row in rows):  # where some have several, others have none
        rows = [row._replace(label="[]") if row.label == "" else row for row in rows]
    return entries_of(file, rows, header.in_frames)


def entries_of(file: ListFile, rows: Sequence[Written], in_frames: bool = False) -> list[LabeledPath]:
    """The videos of rows.

    Raises:
        UserError: A row is malformed, or no path begins as ``path_prefix`` says.
    """
    prefix = file.reading.path_prefix
    if prefix and not any(file.reading.is_moved(row.video) for row in rows):
        raise UserError(
            f"{file.path}: no path begins with {prefix[0]}, as --data.path-prefix (or --path-prefix) says; the first "
            f"is {rows[0].video}. Correct the prefix."
        )
    return [_entry(row, file, in_frames) for row in rows]


def _written(line: Line, file: ListFile, header: Header) -> Written:
    if file.separator == " " and header == Header(header.names, 0, 1) and len(header.names) == 2:
        return Written(line, *parse_row(line, file.base))  # a path may contain spaces
    fields = file.fields(line)
    label = None if header.label is None else fields[header.label]
    if header.classes:
        label = joined(header.names[place] for place in header.classes if _is_set(fields[place], place, line, header))
    times = (fields[header.times[0]], fields[header.times[1]]) if header.times else ("", "")
    return Written(line, fields[header.path], label, "" if header.split is None else fields[header.split], times)


def _is_set(value: str, place: int, line: Line, header: Header) -> bool:
    if value not in _BINARY:
        why = f": {header.names[place]} would be one of a class if it held 0 and 1, but {line.origin} has {value!r}"
        raise no_label_column(header, line.origin.rpartition(":")[0] + ":1", why)
    return _BINARY[value]


def _entry(row: Written, file: ListFile, in_frames: bool) -> LabeledPath:
    line, label = row.line, row.label
    if not row.video or label == "":
        raise UserError(
            f"{line.origin}: needs a path and a label, got {line.text!r}. Write 'path label' or 'path,label'; [] for a "
            "video without any class."
        )
    moved = os.path.expanduser(file.reading.moved(row.video))
    if is_url(moved):
        video: Where = _of_url(moved, line.origin)
    else:
        check_length(row.video, line.origin)
        video = file.base / moved
    place = part_of(video, read_segment(*row.times, in_frames, line.origin))
    label = None if label is None else as_one_text(label, line.origin)
    return LabeledPath(place, label, line.origin, row.split)


def _of_url(url: str, origin: str) -> UrlPath:
    if not _is_storage(url.partition("://")[0].rpartition("::")[2]):
        raise UserError(f"{origin}: {url} is a URL of no storage, such as s3:// and https:// are. Download it.")
    return UrlPath(url)


@cache
def _is_storage(scheme: str) -> bool:
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        return False
    except ImportError:  # who reads from it says what is missing
        return True
    return True
