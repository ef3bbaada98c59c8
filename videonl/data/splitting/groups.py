"""The group of each video: what may not be in two splits, such as a person, a place or a film."""

import re
from collections.abc import Sequence
from pathlib import Path

from videonl.data.reading.segment import whole_of
from videonl.data.splitting.rows import SourceRow
from videonl.errors import UserError

FOLDER, PREFIX, CLIP_ID = "folder", "prefix", "clip_id"


def groups_of(rows: Sequence[SourceRow], by: str, pattern: str | None = None) -> list[str]:
    r"""Names the group of each row.

    Args:
        rows: The videos.
        by: ``folder`` for the folder that the file is in; ``prefix`` for its name up to the last ``_``; ``clip_id`` for
            the video that the clip was cut from, where the source has one; else the name of a column.
        pattern: A regular expression that is searched in that text (of ``prefix``: the whole name without suffix); the
            group is what its parentheses hold, or all that it finds: ``_(g\d+)_`` for ``v_Archery_g01_c02``.

    Raises:
        UserError: There is no such column, a row has no group, or the parts of one file are in several.
    """
    find = _pattern(pattern) if pattern is not None else None
    groups = [_group(row, by, find) for row in rows]
    _check_files(rows, groups)
    return groups


def _group(row: SourceRow, by: str, find: re.Pattern[str] | None) -> str:
    text = _text(row, by, is_whole=find is not None)
    if find is None:
        group = text
    elif (found := find.search(text)) is None:
        raise UserError(f"{row.entry.origin}: --group-pattern {find.pattern} finds nothing in {text!r}. Correct it.")
    else:
        group = "_".join(part or "" for part in found.groups()) if found.groups() else str(found[0])
    if not group:
        raise UserError(f"{row.entry.origin}: has no group (--by {by}). Fill it in, or leave the row out.")
    return group


def _text(row: SourceRow, by: str, is_whole: bool) -> str:
    file = Path(str(whole_of(row.entry.path)))
    if by == FOLDER:
        return str(file.parent)
    if by == PREFIX:
        return file.stem if is_whole else file.stem.rpartition("_")[0] or file.stem
    named = [name for name in row.columns if name == by] or [name for name in row.columns if name.lower() == by.lower()]
    if named:
        return row.columns[named[0]]
    if by == CLIP_ID:
        return row.entry.clip_id
    raise UserError(
        f"--by {by}: {row.entry.origin} has no such column ({', '.join(row.columns) or 'none are named'}). Name a "
        f"column of the list, {FOLDER}, {PREFIX} or {CLIP_ID}."
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"--group-pattern {text}: is no regular expression ({error}). Correct it.") from error


def _check_files(rows: Sequence[SourceRow], groups: Sequence[str]) -> None:
    """Refuses a file of which parts are in several groups: frames of it could be in two splits."""
    first: dict[str, tuple[str, str]] = {}
    for row, group in zip(rows, groups, strict=True):
        file = str(whole_of(row.entry.path))
        before, origin = first.setdefault(file, (group, row.entry.origin))
        if before != group:
            raise UserError(
                f"{row.entry.origin}: {file} is in group {group}, but in {before} at {origin}, so it could be in two "
                "splits. Give all rows of a file one group."
            )
