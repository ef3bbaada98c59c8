"""Which videos there are and what class each has, from any kind of source."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from videonl.data.indexing.index_file import INDEX_NAME, Record, is_index, read_index
from videonl.data.loader import are_too_many
from videonl.data.reading.shard_member import is_url
from videonl.data.sources.entry import VIDEO_SUFFIXES, LabelledPath
from videonl.data.sources.folders import read_folder
from videonl.data.sources.lists import read_list, shorten
from videonl.data.video import Video
from videonl.errors import UserError

__all__ = ["VIDEO_SUFFIXES", "LabelledPath", "Video", "assign", "class_list", "read_source"]

_HasSplit = TypeVar("_HasSplit", LabelledPath, Record)
_log = logging.getLogger(__name__)


def read_source(source: str, root: Path | None = None, keep_unreadable: bool = False) -> list[LabelledPath]:
    """List the labelled videos of a folder, a list file, or an index.

    A folder holds one folder per class (``class/clip.mp4``, or ``class/clip/img_00001.jpg``), or ``train``, ``val`` and
    ``test`` that do. A list file holds one video per line, ``path label`` or ``path,label``, or for folders of frames
    ``path num_frames label``; blank lines and lines that start with ``#`` are skipped. Space-separated paths may
    contain spaces: the label is the last word. A comma-separated file may begin with a header that names at least
    ``path`` and ``label``, and if it has a column ``split``, then ``clips.csv#train`` takes the rows of that split. The
    official lists of Kinetics are such files too.

    An index is what ``videonl index`` writes, or a folder that holds one, or the URL of either. Its broken and missing
    videos are left out, and a warning says how many, or kept to be counted.

    Args:
        source: Folder, list file or index, the latter two optionally with ``#split``.
        root: What relative paths are relative to: the source itself, and the paths in a list. Without it the source is
            relative to the current folder and the paths in a list to the folder the list is in.
        keep_unreadable: Keep the videos that an index calls broken or missing: an evaluation counts them.

    Returns:
        The videos, in the order of the list, or sorted by class and name for a folder.

    Raises:
        UserError: Something is missing or malformed. The message names it and the remedy.
    """
    if is_url(source):
        url, _, split = source.partition("#")
        return _of_index(url, split or None, keep_unreadable)
    path, split_name = _locate(source, root)
    if path.is_dir() and (path / INDEX_NAME).is_file():
        path /= INDEX_NAME
    if is_index(path):
        return _of_index(path, split_name, keep_unreadable)
    if not path.is_dir():
        return read_list(path, split_name, root)
    entries = read_folder(path)
    if split_name is None:
        return entries
    if any(entry.split for entry in entries):
        return _of_split(path, entries, split_name)
    raise UserError(
        f"{source}: '#{split_name}' selects rows of a list file, but {path} is a folder. Name {path}/{split_name}?"
    )


def file_of_source(source: str, root: Path | None = None) -> Path:
    """The list or index that a source is read from, without its split; or its folder, or its URL.

    Raises:
        UserError: There is none of that name.
    """
    if is_url(source):
        return Path(source)
    path, _ = _locate(source, root)
    return path / INDEX_NAME if (path / INDEX_NAME).is_file() else path


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

    Where the classes have no names, as those of converted weights, a label that is a number is an index.

    Raises:
        UserError: A label is not among the classes.
    """
    index_of = _index_by_label(classes)
    for entry in labelled:
        if entry.label not in index_of:
            raise UserError(
                f"{entry.origin}: {_wrong_label(entry, classes)}. "
                "Correct the label, or add it to the classes (--data.classes, or the training videos)."
            )
    return [Video(entry.path, index_of[entry.label], entry.frame_table, entry.unreadable) for entry in labelled]


def _index_by_label(classes: Sequence[str]) -> dict[str, int]:
    numbers = {str(index): index for index, name in enumerate(classes) if name == f"class {index}"}
    return {**numbers, **{name: index for index, name in enumerate(classes)}}


def leave_out_wrong_labels(
    labelled: Sequence[LabelledPath], classes: Sequence[str], max_share: float
) -> list[LabelledPath]:
    """The videos whose label is among the classes; a warning names each of the others.

    Args:
        labelled: Videos.
        classes: The classes.
        max_share: Share of the videos that may be left out.

    Raises:
        UserError: More are to be left out; it lists them.
    """
    known = set(classes)
    wrong = {entry.origin: _wrong_label(entry, classes) for entry in labelled if entry.label not in known}
    if are_too_many(len(wrong), len(labelled), max_share):
        listed = "\n".join(f"  {origin}: {reason}" for origin, reason in wrong.items())
        raise UserError(
            f"{len(wrong)} of {len(labelled)} training videos have a wrong label, more than the share of {max_share:g} "
            f"that --data.loading.max_failed_share allows:\n{listed}\nCorrect them, or add them to --data.classes."
        )
    for origin, reason in wrong.items():
        _log.warning("skipped %s: %s", origin, reason)
    return [entry for entry in labelled if entry.label in known]


def _wrong_label(entry: LabelledPath, classes: Sequence[str]) -> str:
    return f"label {entry.label!r} is none of the {len(classes)} classes ({shorten(classes)})"


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


def _of_index(index: Path | str, split: str | None, keep_unreadable: bool) -> list[LabelledPath]:
    records = read_index(index)
    chosen = records if split is None else _of_split(index, records, split)
    kept = [record for record in chosen if record.usable or keep_unreadable]
    if not any(record.usable for record in kept):
        raise UserError(f"{index}: none of its {len(chosen)} videos is usable. See: videonl doctor {index}")
    if len(kept) < len(chosen):
        num_left_out = len(chosen) - len(kept)
        _log.warning("%s: %d of %d videos are broken or missing, and left out", index, num_left_out, len(chosen))
    return [
        LabelledPath(
            record.location(index),
            record.label,
            f"{index}: {record.path}",
            record.split,
            record.clip_id,
            record.trusted_table,
            "" if record.usable else record.reason or record.status,
        )
        for record in kept
    ]


def _of_split(source: Path | str, items: Sequence[_HasSplit], split: str) -> list[_HasSplit]:
    chosen = [item for item in items if item.split == split]
    if not chosen:
        splits = sorted({item.split for item in items if item.split})
        raise UserError(f"{source}: no videos of split {split!r}. The splits are: {shorten(splits) or 'none'}.")
    return chosen
