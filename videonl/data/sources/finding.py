"""The files that lists name: by what they are called, in any folder below a root, or at the paths that are listed."""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from videonl.data.reading.fetching import facts_of
from videonl.data.reading.segment import whole_of
from videonl.data.reading.shard_member import ShardMember, is_url
from videonl.data.reading.url_path import UrlPath, Where
from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.data.sources.header import name_a_column
from videonl.data.sources.listing import Lister
from videonl.errors import UserError

_NUM_PROBED_FILES = 20
_log = logging.getLogger(__name__)
_OF_WINDOWS = re.compile(r"[A-Za-z]:/")
_QUOTES = "\"'\u2018\u2019\u201c\u201d"


class VideosBelow:
    """The videos in any folder below a root, by their names without suffix.

    Args:
        root: The folder to search, links to folders included.
    """

    def __init__(self, root: Where) -> None:
        self.root = root
        self.by_stem: Mapping[str, Sequence[Where]] = _files_by_stem(root)
        self.found_some = False

    def find(self, stems: Iterable[str], otherwise: str, folder: str = "") -> Where:
        """The file of the first name that exists; in a folder of a certain name, if several fit.

        Args:
            stems: Names without suffix.
            otherwise: Where below the root the file is expected, if there is none.
            folder: That name.
        """
        found = next((self.by_stem[stem] for stem in stems if stem in self.by_stem), None)
        if found is None:
            return self.root / otherwise
        self.found_some = True
        return next((path for path in found if folder and folder in path.parts), found[0])

    def below(self, name: str) -> Where | None:
        """The file of a path relative to the root, if it exists."""
        path = self.root / name
        listed = {path: path for path in self.by_stem.get(path.stem, ())}
        there = listed.get(path) if isinstance(path, UrlPath) or not os.path.exists(path) else path
        self.found_some |= there is not None
        return there


def require_some(list_file: Path, entries: Sequence[LabeledPath], videos: VideosBelow) -> None:
    """Refuses a list of which no video was found.

    Raises:
        UserError: Naming one, and the root.
    """
    places = {str(whole_of(entry.path)) for entry in entries}
    if not videos.found_some and not any(os.path.exists(place) for place in places):
        raise UserError(
            f"{list_file}: none of its {len(places)} clips was found below {videos.root} (looked for "
            f"{whole_of(entries[0].path).name} and so on). Name the folder of the videos: --root, or --data.root."
        )


def check_first_files(list_file: Path, entries: Sequence[LabeledPath], base: Where) -> None:
    """Refuses a list of which none of the first files exists.

    Raises:
        UserError: Showing how the first row was read.
    """
    # Every file is not checked: on network storage that takes minutes, and the reader reports a missing one by name.
    paths = [whole_of(entry.path) for entry in entries[:_NUM_PROBED_FILES]]
    if any(map(exists, paths)):
        return
    words = _words(entries[0], base)
    if (listed := _video_among(words, base)) is not None:
        remedy = (
            f"{listed!r} is there: write the path first and without quotes, or in double ones, then a comma, a tab, a "
            "semicolon or a space, then the label."
        )
    elif name_a_column(re.split(r"[,;|]", f"{_written(paths[0], base)};{entries[0].label or ''}")):
        remedy = (
            "If that line is a header, name its columns path and label, or by --data.columns path=NAME,label=NAME (or "
            f"--columns); if it is a video, it is looked for below {base} (--data.root, or --root)."
        )
    elif any("\\" in str(video) for video in paths):
        remedy = "Write / between folders, not the backslashes of Windows."
    elif any(_OF_WINDOWS.match(_written(video, base)) for video in paths):
        remedy = (
            "The paths begin with a drive of Windows: give --data.path-prefix OLD=NEW, such as C:/data=/mnt/data (or "
            "--path-prefix), or correct them."
        )
    elif any(is_url(str(video)) for video in paths):
        remedy = "Correct the URLs; relative paths are below that of --root (or --data.root)."
    elif not any(isinstance(base, Path) and Path(str(video)).is_relative_to(base) for video in paths):
        remedy = "The paths are absolute, so no root applies to them: give --data.path-prefix OLD=NEW, or correct them."
    else:
        remedy = f"Relative paths were resolved against {base}; set --data.root (or --root) to their base folder."
    label = "no label" if entries[0].label is None else f"the label {entries[0].label!r}"
    raise UserError(
        f"{list_file}: none of the first files listed exists. {entries[0].origin} was read as {paths[0]} with {label}. "
        f"{remedy}"
    )


def _words(entry: LabeledPath, base: Where) -> list[str]:
    """A row in words, whatever may separate its columns."""
    written = f"{_written(whole_of(entry.path), base)} {entry.label or ''}"
    return [word.strip(_QUOTES) for word in re.split(r"[\s,;|:=]+", written) if word.strip(_QUOTES)]


def _written(video: Path | ShardMember, base: Where) -> str:
    return str(video).removeprefix(f"{base}/")


def _video_among(words: Sequence[str], base: Where) -> str | None:
    """A video that a row names which was not understood, such as ``a.mp4|run``."""
    there = (word for word in words if isinstance(base, Path) and is_video_name(word) and os.path.isfile(base / word))
    return next(there, None)


def exists(file: Path | ShardMember) -> bool:
    """Whether there is such a file, here or at its URL.

    Raises:
        UserError: Its storage does not answer, or asks for credentials.
    """
    if not isinstance(file, UrlPath):
        return os.path.exists(str(file))
    try:
        facts_of(file.url)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error}).") from error
    return True


def _files_by_stem(root: Where) -> dict[str, list[Where]]:
    files: dict[str, list[Where]] = defaultdict(list)
    for path in _videos_at(root) if isinstance(root, UrlPath) else _videos_in(root):
        files[path.stem].append(path)
    return {stem: sorted(paths) for stem, paths in files.items()}


def _videos_at(root: UrlPath) -> Iterator[UrlPath]:
    list_folder, folders, left_out = Lister(root), [root], []
    while folders:
        try:
            files, below, nameless = list_folder(folder := folders.pop())
        except OSError as error:
            raise UserError(f"{folder}: cannot be listed ({error}).") from error
        folders += below
        left_out += nameless
        yield from (file for file in files if is_video_name(file.name))
    if left_out:
        _log.warning("%s: left out %d keys with an empty name, such as %s", root, len(left_out), left_out[0])


def _videos_in(root: Path) -> Iterator[Path]:
    visited = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in visited:  # links may go round in a circle
            subfolders.clear()
            continue
        visited.add(os.path.realpath(folder))
        for name in names:
            if is_video_name(name):
                yield Path(folder, name)
