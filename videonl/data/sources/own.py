"""Sources that a user's own function lists: ``python:my_source.read:ARGUMENT``."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from videonl.data.reading.shard_member import is_url
from videonl.data.reading.url_path import UrlPath, Where, where
from videonl.data.sources.entry import LabeledPath
from videonl.errors import UserError
from videonl.registry import Registry

PREFIX = "python:"
SOURCES: Registry[Callable[[str], Iterable[Any]]] = Registry("source")
"""Functions by the name that a source may use instead of their dotted path."""
register_source = SOURCES.register


def is_own_source(source: object) -> bool:
    """Whether a source names a function.

    >>> is_own_source("python:my_source.read:lists/a.txt"), is_own_source("lists/a.txt")
    (True, False)
    """
    return isinstance(source, str) and source.startswith(PREFIX)


def name_of_source(source: str) -> str:
    """The function that a source names: ``my_source.read``."""
    return source.removeprefix(PREFIX).partition(":")[0].partition("#")[0]


def read_own(source: str, root: Where | None = None) -> list[LabeledPath]:
    """Lists the videos that a user's function yields.

    Args:
        source: ``python:FUNCTION:ARGUMENT``, with ``#split`` at the end for the videos of one split. The function is
            called with the argument as text; it yields ``(path, label)`` or ``(path, label, split)``, of which label
            may be None and split empty.
        root: What relative paths are relative to, perhaps at a URL; by default the current folder.

    Raises:
        UserError: There is no such function, it fails, yields something else or no videos.
    """
    name = name_of_source(source)
    rest, _, split = source.removeprefix(PREFIX).partition("#")
    read = SOURCES.find(name)
    if not callable(read):
        raise UserError(f"source {source}: {name} is a {type(read).__name__}, not a function that yields videos")
    try:
        rows = list(read(rest.partition(":")[2]))
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise UserError(f"source {source}: {type(error).__name__}: {error}") from error
    entries = [_entry(row, f"{source}, video {number}", root) for number, row in enumerate(rows, start=1)]
    chosen = [entry for entry in entries if not split or entry.split == split]
    if not chosen:
        raise UserError(f"source {source} yields no videos{f' of split {split}' if split else ''}")
    return chosen


def _entry(row: Any, origin: str, root: Where | None) -> LabeledPath:
    values = tuple(row) if isinstance(row, list | tuple) else ()
    path, label, split = (*values, "")[:3] if len(values) in (2, 3) else (None, None, None)
    if not (isinstance(path, str | Path) and isinstance(label, str | None) and isinstance(split, str)):
        raise UserError(f"{origin}: {row!r} is not (path, label) or (path, label, split)")
    return LabeledPath(_place(os.path.expanduser(path), root), label, origin, split)


def _place(path: str | Path, root: Where | None) -> Where:
    if is_url(str(path)):
        return where(str(path))
    return root / str(path) if isinstance(root, UrlPath) else (root or Path()).absolute() / path
