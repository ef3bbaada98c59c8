"""The rows of a source with all columns that its lists have."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from videonl.data.indexing.index_file import is_index
from videonl.data.reading.segment import COLUMNS as TIMES
from videonl.data.reading.url_path import Where
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.formats import format_of
from videonl.data.sources.header import header_of
from videonl.data.sources.labeled import files_of_sources, read_sources
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.list_lines import content_lines
from videonl.data.sources.options import Reading, columns_of
from videonl.errors import UserError

_OURS = ("path", "label", "split", *TIMES)


class SourceRow(NamedTuple):
    """A video with the columns of its row, by their names; without any where the source has none."""

    entry: LabeledPath
    columns: Mapping[str, str]


class SourceRows(NamedTuple):
    """The rows of a source, and the columns that hold what an entry has: path, label, and so on."""

    rows: Sequence[SourceRow]
    understood: frozenset[str]


def read_rows(
    source: str, root: Where | None, columns: str | None, path_prefix: str | None, group_column: str
) -> SourceRows:
    """Reads a source as :func:`videonl.data.sources.labeled.read_sources` does, with all columns of its lists.

    Args:
        source: Folder, list or index, or several with commas between.
        root: As there.
        columns: As there.
        path_prefix: As there.
        group_column: A column that holds no class, whatever the others are; ignored where there is none.

    Raises:
        UserError: As there.
    """
    files = [file for path in files_of_sources(source) if (file := _list_file(path, root, columns)) is not None]
    if columns_of(columns).get("group") is None and any(_is_own_column(file, group_column) for file in files):
        columns = ",".join([*filter(None, [columns]), f"group={group_column}"])
        files = [ListFile(file.path, file.lines, Reading(root, columns=columns_of(columns))) for file in files]
    entries = read_sources(source, root, columns=columns, path_prefix=path_prefix)
    of_origin: dict[str, Mapping[str, str]] = {}
    understood: set[str] = set()
    for file in files:
        if format_of(file).has_header and len(file.names) > 2:  # in two there may be spaces, and nothing else
            of_origin |= {line.origin: dict(zip(file.names, file.fields(line), strict=True)) for line in file.body}
            understood |= set(_understood(file))
    return SourceRows([SourceRow(entry, of_origin.get(entry.origin, {})) for entry in entries], frozenset(understood))


def keepable(names: Iterable[str], ours: Sequence[str]) -> list[str]:
    """The columns that a list may have beside ours without being read as anything else.

    >>> keepable(["person", "time_start", "Label", "tags"], ["path", "label", "split"])
    ['person']
    """
    kept: list[str] = []
    for name in names:
        # Also without segments, among which a column of other times would not be noticed.
        fits = all(_reads_as(base, [*base, *kept, name]) for base in (ours, _OURS[:3]))
        if fits and name.lower() not in _OURS and name not in kept:
            kept.append(name)
    return kept


def _reads_as(ours: Sequence[str], names: list[str]) -> bool:
    try:
        return header_of(names, "")._replace(names=[]) == header_of([*ours], "")._replace(names=[])
    except UserError:
        return False


def _list_file(path: Path, root: Where | None, columns: str | None) -> ListFile | None:
    # As read_sources names it, so that origins agree.
    path = Path(os.path.abspath(os.path.expanduser(path)))
    if not path.is_file() or is_index(path):
        return None
    lines = content_lines(path)
    return ListFile(path, lines, Reading(root, columns=columns_of(columns))) if lines else None


def _is_own_column(file: ListFile, name: str) -> bool:
    is_writable = not set(name) & set("=,")
    return is_writable and not file.is_json and format_of(file).is_own and name.lower() in file.words


def _understood(file: ListFile) -> list[str]:
    if not format_of(file).is_own:
        return []
    header = header_of(file.names, file.lines[0].origin, file.reading.columns)
    places = [header.path, header.label, header.split, *(header.times or ()), *header.classes]
    return [header.names[place] for place in places if place is not None]
