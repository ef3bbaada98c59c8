"""What is directly in a folder, on this machine or at a URL: videos, folders, and other files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from videonl.data.reading.frame_folder_reader import is_frame_folder, is_frame_name
from videonl.data.reading.probe import opens_as_video
from videonl.data.reading.url_path import UrlPath, Where
from videonl.data.sources.entry import is_video_name
from videonl.data.sources.listing import Lister
from videonl.errors import UserError


class Content(NamedTuple):
    """What is directly in a folder, each sorted by name."""

    videos: list[Where]
    folders: list[Where]
    others: list[Where]


ListContent: TypeAlias = Callable[[Where], Content]


def content_at(root: UrlPath) -> ListContent:
    """Lists what is in folders at URLs below a root, in which files are videos by their names alone.

    Raises:
        UserError: When a folder is listed: the storage refuses, or the folder is one of frames.
    """
    list_folder = Lister(root)

    def content_of(folder: Where) -> Content:
        assert isinstance(folder, UrlPath)
        try:
            files, folders, nameless = list_folder(folder)
        except OSError as error:
            raise UserError(f"{folder}: cannot be listed ({error}).") from error
        content = Content([file for file in files if is_video_name(file.name)], [], [])
        frame = next((file for file in files if is_frame_name(file.name)), None)
        if frame is not None and folder != root and not content.videos:
            raise UserError(
                f"{folder}: is a folder of frames ({frame.name}), which are read from disk alone. Copy them here, or "
                "make videos of them."
            )
        content.others.extend(file for file in files if not is_video_name(file.name))
        content.others.extend(nameless)
        for inner in folders:
            (content.others if inner.name.startswith(".") else content.folders).append(inner)
        return content

    return content_of


def content_here(folder: Where) -> Content:
    """What is in a folder of this machine.

    Raises:
        UserError: It cannot be listed.
    """
    assert isinstance(folder, Path)
    content = Content([], [], [])
    try:
        for path in sorted(folder.iterdir()):
            _place(path, content).append(path)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} cannot be listed ({error.strerror or error}). Allow access, or remove it."
        ) from error
    return content


def _place(path: Path, content: Content) -> list[Where]:
    if path.name.startswith("."):
        return content.others
    if path.is_dir():
        return content.videos if _holds_frames(path) else content.folders
    # A link to nothing counts, to be named as missing.
    is_named = is_video_name(path.name) and (path.is_file() or path.is_symlink())
    return content.videos if is_named or opens_as_video(path) else content.others


def _holds_frames(folder: Path) -> bool:
    """Whether its images are the frames of a video, rather than lie beside videos."""
    return is_frame_folder(folder) and not any(
        is_video_name(path.name) or (path.is_dir() and is_frame_folder(path)) for path in folder.iterdir()
    )


def real_path(folder: Where) -> str:
    """The path without links; storages have none."""
    return os.path.realpath(folder) if isinstance(folder, Path) else str(folder)
