"""Lists the videos of any kind of source, with their labels."""

import glob
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from videonl.data.indexing.index_file import INDEX_NAME, IndexRow, is_index, read_index
from videonl.data.reading.shard_member import is_url
from videonl.data.reading.url_path import UrlPath, Where, where
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.finding import exists
from videonl.data.sources.folders import read_folder, split_of_name
from videonl.data.sources.lists import read_list, shorten
from videonl.data.sources.naming import apart, locate
from videonl.data.sources.official import is_hmdb51, read_hmdb51
from videonl.data.sources.options import Reading, columns_of, prefix_of, refuse_options
from videonl.data.sources.own import is_own_source, read_own
from videonl.errors import UserError

_HasSplit = TypeVar("_HasSplit", LabeledPath, IndexRow)
_OF_ENTRIES = (  # what an entry is made of; with all columns, a million rows would take several GiB
    *("split", "clip_id", "reason", "frame_table", "compared_backends", "exact_backends"),
    *("shard", "offset_bytes", "num_bytes", "start", "end", "start_frame", "end_frame"),
)
_log = logging.getLogger(__name__)


def read_source(
    source: str,
    root: Where | None = None,
    classes: Path | None = None,
    keep_unreadable: bool = False,
    columns: str | None = None,
    path_prefix: str | None = None,
) -> list[LabeledPath]:
    """List the videos of a folder, a list file, or an index, with their labels if the source has them.

    A folder holds one folder per class (``class/clip.mp4``, or ``class/clip/img_00001.jpg``), or ``train``, ``val`` and
    ``test`` that do, or videos alone, which then have no label. A list file holds one video per line, ``path label``,
    ``path,label`` (or a tab or semicolon between), or for folders of frames ``path num_frames label``, or paths alone;
    blank lines and lines that start with ``#`` are skipped. Space-separated paths may contain spaces: the label is the
    last word. A list may begin with a header that names at least ``path`` and ``label``, or words for them such as
    ``filename`` and ``class``, and if it has a column ``split``, then ``clips.csv#train`` takes the rows of that split.
    Columns ``start`` and ``end``, or ``start_frame`` and ``end_frame``, make each row a segment of its video. Several
    labels are ``a;b``, a JSON list, or one column of 0 and 1 for each class; they become a JSON list. The official
    lists of several data sets are read as they are, see :mod:`videonl.data.sources.formats`, and so are the files of
    a split of HMDB51, ``'*_test_split1.txt#train'``. Where labels are numbers, a file ``classes.txt`` beside the list
    names them.

    The URL of a folder is read as one here, but files of other names than those of videos are left out, and folders of
    frames refused. Paths in a list may be URLs.

    An index is a file of ``videonl index``, or a folder that holds one, or the URL of either. Its broken and missing
    videos are left out, with a warning that counts them, or kept to be counted.

    ``python:FUNCTION:ARGUMENT`` calls a user's own function; see :func:`videonl.data.sources.own.read_own`.

    Args:
        source: Folder, list file or index, the latter two optionally with ``#split``.
        root: Base folder of relative paths: of the source itself, and of the paths in a list. Without it the source is
            relative to the current folder and the paths in a list to the folder the list is in. At a URL, a source that
            exists here goes first.
        classes: A file with the names of numeric labels of a list, instead of ``classes.txt``.
        keep_unreadable: Keep the videos that an index calls broken or missing: an evaluation counts them.
        columns: What the columns of a list are called: ``path=filename,label=class``; see
            :data:`videonl.data.sources.options.COLUMNS`.
        path_prefix: ``OLD=NEW``: paths in a list that begin with OLD begin with NEW here.

    Returns:
        The videos, in the order of the list, or sorted by class and name for a folder.

    Raises:
        UserError: Something is missing or malformed. The message names it and the remedy.
    """
    reading = Reading(root, classes, columns_of(columns), prefix_of(path_prefix))
    refuse = partial(refuse_options, source, columns=columns, path_prefix=path_prefix)
    if is_own_source(source):
        refuse("a function of your own")
        return read_own(source, root)
    if isinstance(root, UrlPath) and not _is_here(source):
        source = source if is_url(source) else str(root / source)
    if is_url(source):
        url, _, split = source.partition("#")
        where(url)  # refuses one with a mistake
        index = _index_at(url)
        refuse("an index" if index else "a folder of videos")
        if index is None:
            return _of_folder(UrlPath(url.rstrip("/")), source, split or None)
        return _of_index(index, split or None, keep_unreadable)
    if (pattern := _hmdb51(source, root)) is not None:
        refuse("a split of HMDB51, whose files are below the root")
        return pattern
    path, split_name = locate(source, root)
    if path.is_dir() and (path / INDEX_NAME).is_file():
        path /= INDEX_NAME
    if is_index(path):
        refuse("an index")
        return _of_index(path, split_name, keep_unreadable)
    if not path.is_dir():
        return read_list(path, split_name, reading)
    refuse("a folder of videos")
    return _of_folder(path, source, split_name)


def _of_folder(path: Where, source: str, split_name: str | None) -> list[LabeledPath]:
    entries = read_folder(path)
    if split_name is None:
        return entries
    if any(entry.split for entry in entries):
        return _of_split(path, entries, split_name)
    raise UserError(
        f"{source}: '#{split_name}' selects rows of a list file, but {path} is a folder. Name {path}/{split_name}?"
    )


def _is_here(source: str) -> bool:
    """Whether a source is on this machine, rather than below a root at a URL."""
    path = os.path.expanduser(source)
    is_there = any(os.path.lexists(name) for name in (path, path.rpartition("#")[0]) if name)
    return is_there or glob.has_magic(source) or os.path.isabs(path)


def _index_at(url: str) -> str | None:
    """The index that a URL names, or a folder there holds; None of a folder without one."""
    if url.endswith(".parquet"):
        return url
    if exists(UrlPath(url.rstrip("/")) / INDEX_NAME):
        return url
    if UrlPath(url).suffix and exists(UrlPath(url)):  # a folder of https:// exists, as the page that lists it
        raise UserError(
            f"{url}: is a file, and lists are read from disk. Copy it here, and name the folder of its videos: --root "
            f"{UrlPath(url).parent} (or --data.root)."
        )
    return None


def _hmdb51(source: str, root: Where | None) -> list[LabeledPath] | None:
    """The videos of the official files of HMDB51, which a pattern names; None where it names others, or is none."""
    if not _is_pattern(source, root):
        return None
    name, _, split = source.partition("#")
    paths = [Path(each) for each in sorted(glob.glob(str(_folder(root) / os.path.expanduser(name))))]
    if not is_hmdb51(paths):
        return None
    entries = read_hmdb51(paths, root)
    return _of_split(name, entries, split) if split else entries


def _is_pattern(source: str, root: Where | None) -> bool:
    return glob.has_magic(source) and not os.path.lexists(_folder(root) / os.path.expanduser(source))


def _folder(root: Where | None) -> Path:
    """What patterns are relative to."""
    return root if isinstance(root, Path) else Path()


def file_of_source(source: str, root: Where | None = None) -> Path:
    """The list or index that a source is read from, without its split; or its folder, or its URL.

    Raises:
        UserError: It does not exist.
    """
    if is_url(source) or is_own_source(source) or (isinstance(root, UrlPath) and not _is_here(source)):
        return Path(source)
    if _is_pattern(source, root):
        return Path(source.partition("#")[0])
    path, _ = locate(source, root)
    return path / INDEX_NAME if (path / INDEX_NAME).is_file() else path


def files_of_sources(text: str) -> list[Path]:
    """Those of one source, or of several with commas between; see :func:`file_of_source`."""
    return [file_of_source(source) for source in apart(text)]


def read_sources(
    text: str,
    root: Where | None = None,
    classes: Path | None = None,
    columns: str | None = None,
    path_prefix: str | None = None,
) -> list[LabeledPath]:
    """List the videos of one source, or of several with commas between.

    With several sources, videos without a split of their own get the split after which their source is named:
    ``train.csv,val.csv`` are the splits train and val.

    Args:
        text: The sources, each relative to the current folder.
        root: As for :func:`read_source`.
        classes: As for :func:`read_source`.
        columns: As for :func:`read_source`.
        path_prefix: As for :func:`read_source`.

    Raises:
        UserError: As :func:`read_source`.
    """
    sources = apart(text)
    everything = []
    for source in sources:
        entries = read_source(
            source if is_url(source) or is_own_source(source) else os.path.abspath(os.path.expanduser(source)),
            root,
            classes,
            columns=columns,
            path_prefix=path_prefix,
        )
        split = split_of_name(source) if len(sources) > 1 else ""
        everything += [entry if entry.split else entry._replace(split=split) for entry in entries]
    unsplit = sum(not entry.split for entry in everything)
    if len(sources) > 1 and unsplit:
        _log.warning("%d of %d videos have no split: name the lists train.csv, val.csv", unsplit, len(everything))
    return everything


def _of_index(index: Path | str, split: str | None, keep_unreadable: bool) -> list[LabeledPath]:
    records = read_index(index, _OF_ENTRIES)
    chosen = records if split is None else _of_split(index, records, split)
    kept = [record for record in chosen if record.usable or keep_unreadable]
    if not any(record.usable for record in kept):
        raise UserError(f"{index}: none of its {len(chosen)} videos is usable. See: videonl doctor {index}")
    if len(kept) < len(chosen):
        num_left_out = len(chosen) - len(kept)
        _log.warning("%s: %d of %d videos are broken or missing, and left out", index, num_left_out, len(chosen))
    return [
        LabeledPath(
            record.location(index),
            record.label or None,
            f"{index}: {record.path}",
            record.split,
            record.clip_id,
            record.trusted_table,
            "" if record.usable else record.reason or record.status,
        )
        for record in kept
    ]


def _of_split(source: Where | str, items: Sequence[_HasSplit], split: str) -> list[_HasSplit]:
    chosen = [item for item in items if item.split == split]
    if not chosen:
        splits = sorted({item.split for item in items if item.split})
        raise UserError(f"{source}: no videos of split {split!r}. The splits are: {shorten(splits) or 'none'}.")
    return chosen
