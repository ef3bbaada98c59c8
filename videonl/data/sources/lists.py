"""List files of any format, their splits, and what is wrong with their rows as a whole."""

import logging
from collections.abc import Sequence
from pathlib import Path

from videonl.data.reading.segment import VideoPart
from videonl.data.sources.class_names import named_by_file
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.finding import check_first_files
from videonl.data.sources.formats import format_of
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.list_lines import content_lines
from videonl.data.sources.options import Reading
from videonl.errors import UserError

_NUM_SHOWN = 10
_SPLITS = {"training": "train", "validation": "val", "validate": "val", "valid": "val", "testing": "test"}
_log = logging.getLogger(__name__)


def read_list(path: Path, split: str | None, reading: Reading) -> list[LabeledPath]:
    """Read a list file; see :func:`videonl.data.sources.labeled.read_source` for what it may hold.

    Args:
        path: The file.
        split: Which split's rows to select; all without it. ``train`` also selects ``training``, and so on.
        reading: Where its files are, and what its columns and classes are called.

    Raises:
        UserError: The list is malformed, empty, has no such split, or none of the first files exists.
    """
    lines = content_lines(path)
    if not lines:
        raise UserError(f"{path}: no videos listed. Write one 'path label' per line.")
    file = ListFile(path, lines, reading)
    form = format_of(file)
    everything = form.read(file)
    if not form.searches:
        check_first_files(path, everything, file.base)
    if form.is_own:
        _check_repeated(everything)
    chosen = _of_split(path, everything, split)
    return named_by_file(chosen, path, reading.classes) if form.is_named else chosen


def shorten(names: Sequence[str]) -> str:
    """The first few names, with commas between.

    >>> shorten(["run", "walk"])
    'run, walk'
    """
    return ", ".join(names[:_NUM_SHOWN]) + (", ..." if len(names) > _NUM_SHOWN else "")


def _of_split(path: Path, entries: list[LabeledPath], split: str | None) -> list[LabeledPath]:
    if split is None:
        return entries
    wanted = _SPLITS.get(split, split)
    chosen = [entry for entry in entries if entry.split == split] or [
        entry for entry in entries if entry.split and _SPLITS.get(entry.split, entry.split) == wanted
    ]
    if not chosen and not any(entry.split for entry in entries):
        raise UserError(f"{path}: '#{split}' needs a header row with a column 'split', but there is none.")
    if not chosen:
        splits = shorten(sorted({entry.split for entry in entries}))
        raise UserError(f"{path}: no rows with split {split!r}. The splits are: {splits}.")
    return chosen


def _check_repeated(entries: Sequence[LabeledPath]) -> None:
    """Refuses a segment that is listed twice; tells of files that are, and of places with several labels.

    Some list a file twice for it to be drawn twice.
    """
    first: dict[tuple[str, str], LabeledPath] = {}
    repeated, contradicting = [], []
    for entry in entries:
        before = first.setdefault((str(entry.path), entry.split), entry)
        if before is entry:
            continue
        if before.label != entry.label:
            contradicting.append((before, entry))
        elif isinstance(entry.path, VideoPart):
            raise UserError(f"{entry.origin}: is the same segment and label as {before.origin}. Remove one.")
        else:
            repeated.append((before, entry))
    for pairs, what in (
        (repeated, "rows repeat another one, and count again"),
        (
            contradicting,
            "rows give another label to the same place, and count on their own (for several labels of one "
            "video, write one row with a;b)",
        ),
    ):
        if pairs:
            _log.warning("%d %s: %s and %s", len(pairs), what, *(entry.origin for entry in pairs[0]))
