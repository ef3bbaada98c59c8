"""The videos that people name: files, folders, lists, patterns and URLs, with or without labels."""

import glob
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from videonl.data.indexing.index_file import INDEX_NAME
from videonl.data.reading.frame_folder_reader import is_frame_folder
from videonl.data.reading.probe import opens_as_video
from videonl.data.reading.segment import named_place, whole_of
from videonl.data.reading.shard_member import is_url
from videonl.data.reading.url_path import UrlPath
from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.data.sources.labeled import read_source
from videonl.data.sources.options import refuse_options
from videonl.data.sources.own import is_own_source
from videonl.errors import UserError

_STREAMS = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt")
_log = logging.getLogger(__name__)


def is_one_video(source: str) -> bool:
    """Whether a source is a single video: a video file, a part of one, the URL of one, or a folder of frames.

    By its name, a missing one is, too.
    """
    if is_own_source(source) or not source:
        return False
    file = whole_of(named_place(os.path.expanduser(source)))
    if isinstance(file, UrlPath):
        return scheme_of(source) not in _STREAMS and is_video_name(file.name)
    path = Path(str(file))
    if os.path.isdir(path):
        return is_frame_folder(path) and not any(is_video_name(name) for name in os.listdir(path))
    return (is_video_name(path.name) and not _is_pattern(source)) or opens_as_video(path)


def _first(entry: LabeledPath, again: LabeledPath) -> LabeledPath:
    return entry


def read_videos(
    sources: Iterable[str | Path],
    columns: str | None = None,
    path_prefix: str | None = None,
    merge: Callable[[LabeledPath, LabeledPath], LabeledPath] = _first,
) -> list[LabeledPath]:
    """Lists the videos of some sources, in their order; one that several sources name is listed once.

    Args:
        sources: Video files, parts of them such as ``match.mp4#t=11.9,21.2``, their URLs, folders of frames, patterns
            such as ``clips/*.mp4``, and whatever :func:`videonl.data.sources.labeled.read_source` reads: folders of
            videos, lists, indexes.
        columns: As there, for lists.
        path_prefix: As there, for lists.
        merge: From two entries of one place, in their order, to the one to list; by default the first.

    Raises:
        UserError: There are none, a source is missing or malformed, or no source is a list that the options are about.
            A video file that is missing is listed: who
            reads it says so, and goes on with the others.
    """
    names = [os.fspath(source) for source in sources]
    if all(map(is_one_video, names)):
        for name in names[:1]:
            refuse_options(name, "a video", columns=columns, path_prefix=path_prefix)
    found = [entry for name in names for entry in _read(name, columns, path_prefix)]
    listed: dict[str, LabeledPath] = {}
    for entry in found:
        place = str(entry.path)
        listed[place] = merge(listed[place], entry) if place in listed else entry
    if len(listed) < len(found):
        _log.warning("%d videos are named more than once, and count once", len(found) - len(listed))
    if not found:
        raise UserError("no videos are named; give files, folders or lists")
    return list(listed.values())


def files_read(sources: Iterable[str | Path]) -> list[Path]:
    """The files that :func:`read_videos` may read to list some sources: lists, indexes; some may not exist."""
    paths = [Path(os.path.expanduser(name)) for source in sources for name in _without_split(os.fspath(source))]
    return [file for path in paths for file in (path, path / INDEX_NAME)]


def _without_split(source: str) -> list[str]:
    return [name for name in (source, source.rpartition("#")[0]) if name]


def _read(source: str, columns: str | None, path_prefix: str | None) -> list[LabeledPath]:
    if not source:
        raise UserError("an empty name names no video; give the path of a file, a folder or a list")
    path = Path(os.path.expanduser(source))
    if is_one_video(source):
        return [LabeledPath(named_place(os.path.expanduser(source)), None, source)]
    if os.path.lexists(path) or not _is_pattern(source):
        refuse_stream(source)
        if not (os.path.lexists(path) or "#" in source or is_url(source) or is_own_source(source)):
            raise UserError(f"{source}: no such file or folder. Name videos, folders of videos, or lists")
        return read_source(source, keep_unreadable=True, columns=columns, path_prefix=path_prefix)
    matches = sorted(glob.glob(str(path), recursive=True))
    if not matches and is_video_name(path.name):
        return [LabeledPath(path, None, source)]
    if not matches:
        raise UserError(f"{source} matches no file")
    return [entry for match in matches for entry in _read(match, columns, path_prefix)]


def refuse_stream(source: str) -> None:
    """Refuses the address of what has no end.

    Raises:
        UserError: It is one.
    """
    if scheme_of(source) in _STREAMS:
        raise UserError(
            f"{source} is a live stream, which videonl stream reads. For another command save some of it first, such "
            f"as by ffmpeg -i {source} -t 10 -c copy clip.mkv"
        )


def scheme_of(source: str) -> str:
    """The scheme of a URL in small letters; empty of a path."""
    return source.partition("://")[0].lower() if is_url(source) else ""


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) and not is_url(source)
