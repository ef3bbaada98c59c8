"""Class folders: ``CLASS/CLIP.mp4``, or ``CLASS/CLIP/img_00001.jpg``; or a folder of such folders for each split.

A folder of videos without class folders is a source too, whose videos have no label.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from videonl.data.reading.url_path import UrlPath, Where
from videonl.data.sources.contents import Content, ListContent, content_at, content_here, real_path
from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.errors import UserError
from videonl.outputs import is_same
from videonl.terminal import printable

_SPLIT_NAMES = frozenset(("train", "training", "val", "validate", "validation", "valid", "test", "testing"))
# What lies beside class folders to describe them: lists, annotations, names of classes, settings.
_DESCRIBING = frozenset(
    (".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ".yaml", ".yml", ".md", ".rst", ".part")
)
_DESCRIBING_NAMES = frozenset(("readme", "license", "licence"))
_NUM_SHOWN = 3
_log = logging.getLogger(__name__)


def read_folder(folder: Where) -> list[LabeledPath]:
    """List the videos of class folders, sorted by split, class and name; a warning counts the files left out.

    Folders named train, val, test and the like, that hold class folders in turn, are splits rather than classes.
    Videos in folders below a class folder are of that class. Without class folders the videos have no label. At a URL,
    files are videos by their names alone: to look into others would take a request for each.

    Raises:
        UserError: There are no videos, a class folder is empty, or what is a class cannot be told; or, at a URL, there
            is a folder of frames.
    """
    left_out: dict[Where, str] = {}
    content_of = content_at(folder) if isinstance(folder, UrlPath) else content_here
    entries = _read(folder, content_of(folder), content_of, left_out)
    if left_out:
        _log.warning("%s: left out %s", folder, _counted(left_out))
    return entries


def data_set_around(video: Path, apart_from: Path) -> Path | None:
    """The folder of class folders, or else of videos, that a video is one of, as far as names tell.

    Args:
        video: The file.
        apart_from: A folder that is none of the class folders, such as one to write to.

    Returns:
        The folder; None where the video is alone.
    """
    beside = _folders(video.parent.parent, apart_from)
    if len(beside) > 1 and all(any(_named(folder)) for folder in beside):
        return video.parent.parent
    return video.parent if sum(_named(video.parent)) > 1 else None


def are_splits(folder: Path, apart_from: Path) -> bool:
    """Whether a folder holds several splits and no other folders, apart from one, as far as names tell."""
    beside = _folders(folder, apart_from)
    return len(beside) > 1 and all(path.name.lower() in _SPLIT_NAMES for path in beside)


def _folders(folder: Path, apart_from: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.is_dir() and not is_same(path, apart_from)]


def _named(folder: Path) -> Iterator[bool]:
    return (is_video_name(path.name) for path in _listed(folder))


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []


def split_of_name(name: str) -> str:
    """The split that a file or folder is named after; empty where it is named after none.

    >>> split_of_name("kinetics_val.csv"), split_of_name("trainlist01.txt"), split_of_name("clips.csv")
    ('val', 'train', '')
    """
    words = "".join(char if char.isalpha() else " " for char in Path(name).stem.lower()).split()
    named = {word.removesuffix("list") for word in words} & _SPLIT_NAMES
    return named.pop() if len(named) == 1 else ""


def _read(folder: Where, top: Content, content_of: ListContent, left_out: dict[Where, str]) -> list[LabeledPath]:
    inside = {inner: content_of(inner) for inner in top.folders}
    left_out |= {path: kind for path, kind in _no_videos(top).items() if not _describes(path)}
    if inside and all(_is_split(inner, content) for inner, content in inside.items()):
        return [
            entry._replace(split=split.name)
            for split, content in inside.items()
            for entry in _read(split, content, content_of, left_out)
        ]
    if top.videos and not any(_has_videos(inner, content, content_of) for inner, content in inside.items()):
        left_out |= dict.fromkeys(top.folders, "folder without videos")
        return [LabeledPath(video, None, str(video)) for video in top.videos]
    if not inside:
        raise UserError(f"{folder}: no class folders in it. Arrange the videos as {folder}/CLASS/CLIP.mp4.")
    left_out |= dict.fromkeys(top.videos, "video beside the class folders")
    entries = []
    for inner, content in inside.items():
        label = printable(inner.name)
        entries += [LabeledPath(video, label, str(video)) for video in _of_class(inner, content, content_of, left_out)]
    return entries


def _is_split(folder: Where, content: Content) -> bool:
    return folder.name.lower() in _SPLIT_NAMES and bool(content.folders) and not content.videos


def _has_videos(folder: Where, content: Content, content_of: ListContent) -> bool:
    return bool(content.videos or _nested(content, content_of, {}, (real_path(folder),)))


def _of_class(folder: Where, content: Content, content_of: ListContent, left_out: dict[Where, str]) -> list[Where]:
    nested = _nested(content, content_of, left_out, (real_path(folder),))
    if content.videos and nested and folder.name.lower() in _SPLIT_NAMES:
        raise UserError(
            f"{folder}: is named like a split, but holds videos such as {content.videos[0].name} beside folders of "
            f"videos such as {nested[0].parent.name}. Move the former into class folders, or choose another folder."
        )
    if content.videos:
        return sorted([*content.videos, *nested])
    if nested:
        raise UserError(
            f"{folder}: no videos in this class folder, only in folders below it, such as {nested[0]}. If those are "
            f"the classes, use {folder} as the source; otherwise move the videos up, or write a list of 'path,label'."
        )
    raise UserError(
        f"{folder}: no videos in this class folder, neither files that FFmpeg opens nor folders of frames. Add some, "
        "or remove the folder."
    )


def _nested(
    content: Content, content_of: ListContent, left_out: dict[Where, str], above: tuple[str, ...]
) -> list[Where]:
    """The videos in the folders below, at any depth; links that lead in a circle are not followed."""
    left_out |= _no_videos(content)
    videos = []
    for folder in content.folders:
        real = real_path(folder)
        if real not in above:
            below = content_of(folder)
            videos += [*below.videos, *_nested(below, content_of, left_out, (*above, real))]
    return videos


def _no_videos(content: Content) -> dict[Where, str]:
    return {path: _kind(path) for path in content.others}


def _kind(path: Where) -> str:
    if not path.name:  # of a bucket, see Listed
        return "folder without a name" if str(path).endswith("//") else "file named as a folder"
    if path.name.startswith("."):
        return "hidden file"
    return f"file without a video ({path.suffix})" if path.suffix else "file without a video"


def _describes(path: Where) -> bool:
    """Whether a file beside class folders is about them, which nobody takes for a video.

    >>> [_describes(Path(name)) for name in ("labels.csv", "README", "clip.xyz", ".hidden.csv")]
    [True, True, False, False]
    """
    name, suffix = path.stem.lower(), path.suffix.lower()
    return not name.startswith(".") and (suffix in _DESCRIBING or (name in _DESCRIBING_NAMES and not suffix))


def _counted(left_out: Mapping[Where, str]) -> str:
    """How many there are of which kind, and some of them.

    >>> _counted({Path("a.xyz"): "file without a video (.xyz)", Path("b.xyz"): "file without a video (.xyz)"})
    '2 files without a video (.xyz): a.xyz, b.xyz'
    """
    counts = ", ".join(_several(count, kind) for kind, count in Counter(left_out.values()).most_common())
    rare_first = sorted(left_out, key=lambda path: bool(path.name))
    shown = ", ".join(str(path) for path in rare_first[:_NUM_SHOWN])
    return f"{counts}: {shown}{', ...' * (len(left_out) > _NUM_SHOWN)}"


def _several(count: int, kind: str) -> str:
    """A number of what begins with its noun.

    >>> _several(1, "folder without videos"), _several(2, "file without a video")
    ('1 folder without videos', '2 files without a video')
    """
    noun, blank, rest = kind.partition(" ")
    return f"{count} {noun}{'s' * (count != 1)}{blank}{rest}"
