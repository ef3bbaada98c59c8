"""EPIC-Kitchens-100's CSV: segments with a verb and a noun, and files ``PARTICIPANT/VIDEO.MP4`` below a folder."""

from collections.abc import Mapping
from pathlib import Path

from videonl.data.reading.segment import part_of
from videonl.data.sources.class_names import named_by_file
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.finding import VideosBelow, require_some
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.several import as_one_text
from videonl.data.sources.times import read_segment
from videonl.errors import UserError

_COLUMNS = frozenset(("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp"))
_VERB = "verb_class"


def is_epic_kitchens(file: ListFile) -> bool:
    """Whether it has the columns of an official list of EPIC-Kitchens-100."""
    return file.words >= _COLUMNS


def read_epic_kitchens(file: ListFile) -> list[LabeledPath]:
    """The segments, whose class is ``verb_class``, or the column of ``--data.columns label=noun_class``.

    The lists of the test set have neither, and no label. Numbers get the names of the official ``*verb_classes.csv``
    or ``*noun_classes.csv`` beside, or of the file that the user names. A missing file is expected at
    ``root/P01/videos/P01_11.MP4``.

    Raises:
        UserError: A row is malformed, there is no such column, or no file exists.
    """
    column = file.reading.columns.get("label", _VERB if _VERB in file.words else "").lower()
    if column and column not in file.words:
        raise UserError(
            f"{file.lines[0].origin}: --data.columns names {column}, but the columns are {', '.join(file.names)}. "
            "Correct one."
        )
    videos = VideosBelow(file.base)
    entries = [_entry(row, origin, column, videos) for origin, row in file.rows()]
    require_some(file.path, entries, videos)
    names_file = file.reading.classes or _names_beside(file.path, column)
    return named_by_file(entries, file.path, names_file) if names_file else entries


def _entry(row: Mapping[str, str], origin: str, column: str, videos: VideosBelow) -> LabeledPath:
    video, participant, start, end = (
        row[name] for name in ("video_id", "participant_id", "start_timestamp", "stop_timestamp")
    )
    if not video or not start or not end or (column and not row[column]):
        raise UserError(
            f"{origin}: has no video_id, no {column or 'class'}, or no timestamps. Correct the row, or leave it out."
        )
    path = videos.find((video,), f"{participant}/videos/{video}.MP4", participant)
    place = part_of(path, read_segment(start, end, False, origin))
    return LabeledPath(place, as_one_text(row[column], origin) if column else None, origin, clip_id=video)


def _names_beside(path: Path, column: str) -> Path | None:
    kind = next((kind for kind in ("verb", "noun") if column.endswith((f"{kind}_class", f"{kind}_classes"))), None)
    found = sorted(path.parent.glob(f"*{kind}_classes*.csv")) if kind else []
    return found[0] if len(found) == 1 else None
