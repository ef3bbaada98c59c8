"""The official Kinetics lists: ``label,youtube_id,time_start,time_end,split``, and files somewhere below a folder."""

from collections.abc import Mapping

from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.finding import VideosBelow, require_some
from videonl.data.sources.list_file import ListFile
from videonl.errors import UserError

_COLUMNS = frozenset(("label", "youtube_id", "time_start", "time_end"))


def is_kinetics(file: ListFile) -> bool:
    """Whether it has the columns of an official Kinetics list."""
    return file.words >= _COLUMNS


def read_kinetics(file: ListFile) -> list[LabeledPath]:
    """Find the file of each row, named ``ID_000010_000020.mp4`` or ``ID.mp4``, in any folder below the root.

    A few clips in a hundred are always missing, because they left YouTube: those keep the path at which they were
    expected, ``root/label/ID_000010_000020.mp4``. Where several files fit, the one in a folder named like the split
    is taken.

    Raises:
        UserError: A row has no label, id or times, or no file of the list exists.
    """
    videos = VideosBelow(file.base)
    entries = [_entry(row, origin, videos) for origin, row in file.rows()]
    require_some(file.path, entries, videos)
    return entries


def _entry(row: Mapping[str, str], origin: str, videos: VideosBelow) -> LabeledPath:
    label, youtube_id, split = (row.get(name, "") for name in ("label", "youtube_id", "split"))
    if not label or not youtube_id:
        raise UserError(f"{origin}: has no label or no youtube_id. Correct the row, or leave it out.")
    stem = f"{youtube_id}_{_seconds(row, 'time_start', origin):06d}_{_seconds(row, 'time_end', origin):06d}"
    path = videos.find((stem, youtube_id), f"{label}/{stem}.mp4", split)
    return LabeledPath(path, label, origin, split, youtube_id)


def _seconds(row: Mapping[str, str], column: str, origin: str) -> int:
    try:
        return round(float(row.get(column, "")))
    except (ValueError, OverflowError):
        raise UserError(f"{origin}: {column} must be a number of seconds, got {row.get(column, '')!r}.") from None
