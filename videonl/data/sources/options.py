"""How a list is read: where its files are, what its columns are called, who names its numbers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from videonl.data.reading.url_path import Where
from videonl.errors import UserError

COLUMNS = ("path", "label", "split", "start", "end", "start_frame", "end_frame", "group", "segments")


@dataclass(frozen=True)
class Reading:
    """What a user says about a list, beside its name.

    Args:
        root: What relative paths are relative to, perhaps at a URL; by default the folder of the list.
        classes: A file of the names that numeric labels stand for; by default ``classes.txt`` beside the list.
        columns: What the columns are called, by what they hold (:data:`COLUMNS`); an empty name says there is none.
        path_prefix: How the paths of the list begin, and what they begin with here.
    """

    root: Where | None = None
    classes: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    path_prefix: tuple[str, str] | None = None

    def moved(self, video: str) -> str:
        """A path of the list with its new beginning."""
        if self.path_prefix is None or not self.is_moved(video):
            return video
        old, new = self.path_prefix
        return os.path.join(new, video.removeprefix(old).lstrip("/"))

    def is_moved(self, video: str) -> bool:
        """Whether a path begins as ``path_prefix`` says, up to the end of a folder's name."""
        old = self.path_prefix[0].rstrip("/") if self.path_prefix else None
        return old is not None and (video == old or video.startswith(f"{old}/"))


def columns_of(text: str | None) -> dict[str, str]:
    """The columns that an option names: ``path=filename,label=class``.

    >>> columns_of("path=filename,label=class,start=")
    {'path': 'filename', 'label': 'class', 'start': ''}

    Raises:
        UserError: It is written otherwise, or names what no column can hold, or one thing twice.
    """
    columns: dict[str, str] = {}
    for part in (text or "").split(",") if text else ():
        key, equals, name = (word.strip() for word in part.partition("="))
        if not equals or key not in COLUMNS:
            raise UserError(
                f"--data.columns (or --columns) {text}: {part!r} must be KEY=NAME, where NAME is a column of the list, "
                f"and KEY one of {', '.join(COLUMNS)}."
            )
        if key in columns:
            raise UserError(f"--data.columns (or --columns) {text}: names {key} twice. Remove one.")
        columns[key] = name
    return columns


def prefix_of(text: str | None) -> tuple[str, str] | None:
    """The two beginnings of an option ``OLD=NEW``.

    >>> prefix_of("/data/k400=/mnt/videos")
    ('/data/k400', '/mnt/videos')

    Raises:
        UserError: It is written otherwise.
    """
    if text is None:
        return None
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise UserError(
            f"--data.path-prefix (or --path-prefix) {text}: must be OLD=NEW, such as /data/k400=/mnt/videos."
        )
    return old, os.path.expanduser(new)


def refuse_options(source: str, kind: str, **options: str | None) -> None:
    """Refuses options about lists for a source that is none.

    >>> refuse_options("clips", "a folder of videos", columns=None)

    Args:
        source: The source.
        kind: What it is.
        options: ``columns`` and ``path_prefix``, as they were given.

    Raises:
        UserError: One was given.
    """
    for name, value in options.items():
        if value is not None:
            option = f"--data.{name.replace('_', '-')}"
            raise UserError(f"{source}: is {kind}, to which {option} does not apply. Remove the option.")
