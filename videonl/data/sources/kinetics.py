"""The official Kinetics lists: ``label,youtube_id,time_start,time_end,split``, and files somewhere below a folder."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.errors import UserError

_COLUMNS = frozenset(("label", "youtube_id", "time_start", "time_end"))


def is_kinetics_header(names: Sequence[str]) -> bool:
    """Whether these are the columns of an official Kinetics list.

    >>> is_kinetics_header(["label", "youtube_id", "time_start", "time_end", "split"])
    True
    """
    return set(names) >= _COLUMNS


def read_kinetics(list_file: Path, rows: Sequence[tuple[str, Mapping[str, str]]], root: Path) -> list[LabeledPath]:
    """Find the file of each row, named ``ID_000010_000020.mp4`` or ``ID.mp4``, in any folder below ``root``.

    A few clips in a hundred are always missing, because they left YouTube: those keep the path at which they were
    expected, ``root/label/ID_000010_000020.mp4``. Where several files fit, the one in a folder named like the split
    is taken.

    Args:
        list_file: Where the rows are from, for messages.
        rows: The place of each row, for messages, and its columns.
        root: The folder to search, links to folders included.

    Raises:
        UserError: A row has no label, id or times, or no file of the list exists.
    """
    files = _files_by_stem(root)
    entries = [_entry(row, origin, root, files) for origin, row in rows]
    if not any(os.path.exists(str(entry.path)) for entry in entries):
        raise UserError(
            f"{list_file}: none of its {len(rows)} clips was found below {root} (looked for "
            f"{Path(str(entries[0].path)).name} and so on). Name the folder of the videos: --root, or --data.root."
        )
    return entries


def _entry(row: Mapping[str, str], origin: str, root: Path, files: Mapping[str, Sequence[Path]]) -> LabeledPath:
    label, youtube_id, split = (row.get(name, "") for name in ("label", "youtube_id", "split"))
    if not label or not youtube_id:
        raise UserError(f"{origin}: has no label or no youtube_id. Correct the row, or leave it out.")
    stem = f"{youtube_id}_{_seconds(row, 'time_start', origin):06d}_{_seconds(row, 'time_end', origin):06d}"
    candidates = files.get(stem) or files.get(youtube_id) or [root / label / f"{stem}.mp4"]
    path = next((path for path in candidates if split and split in path.parts), candidates[0])
    return LabeledPath(path, label, origin, split, youtube_id)


def _seconds(row: Mapping[str, str], column: str, origin: str) -> int:
    try:
        return round(float(row.get(column, "")))
    except ValueError:
        raise UserError(f"{origin}: {column} must be a number of seconds, got {row.get(column, '')!r}.") from None


def _files_by_stem(root: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    visited = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in visited:  # links may go round in a circle
            subfolders.clear()
            continue
        visited.add(os.path.realpath(folder))
        for name in names:
            if is_video_name(name):
                files[Path(name).stem].append(Path(folder, name))
    return {stem: sorted(paths) for stem, paths in files.items()}
