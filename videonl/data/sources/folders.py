"""Class folders: ``CLASS/CLIP.mp4``, or ``CLASS/CLIP/img_00001.jpg``; or a folder of such folders for each split."""

from pathlib import Path

from videonl.data.reading.frame_folder_reader import is_frame_folder
from videonl.data.sources.entry import VIDEO_SUFFIXES, LabelledPath, is_video_name
from videonl.errors import UserError
from videonl.terminal import printable

_SPLIT_NAMES = frozenset(("train", "training", "val", "validate", "validation", "valid", "test", "testing"))


def read_folder(folder: Path) -> list[LabelledPath]:
    """List the videos of class folders, sorted by split, class and name.

    Folders named train, val, test and the like, that hold class folders in turn, are splits rather than classes.

    Raises:
        UserError: There are no class folders, or one of them is empty.
    """
    folders = _subfolders(folder)
    if folders and all(_is_split_folder(entry) for entry in folders):
        return [entry._replace(split=split.name) for split in folders for entry in read_folder(split)]
    if not folders:
        raise UserError(f"{folder}: no class folders in it. Arrange the videos as {folder}/CLASS/CLIP.mp4.")
    return [entry for class_folder in folders for entry in _read_class_folder(class_folder)]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_split_folder(folder: Path) -> bool:
    """Whether it is named like a split and holds class folders, neither videos nor frames."""
    if folder.name.lower() not in _SPLIT_NAMES or any(is_video_name(entry.name) for entry in folder.iterdir()):
        return False
    inner = _subfolders(folder)
    return bool(inner) and not any(is_frame_folder(entry) for entry in inner)


def _read_class_folder(folder: Path) -> list[LabelledPath]:
    videos = sorted(entry for entry in folder.iterdir() if _is_video(entry))
    if not videos:
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        raise UserError(f"{folder}: no videos in this class folder ({suffixes}). Add some, or remove the folder.")
    return [LabelledPath(path, printable(folder.name), str(path)) for path in videos]


def _is_video(path: Path) -> bool:
    if path.is_dir():
        return not path.name.startswith(".") and is_frame_folder(path)
    # A link to nothing counts, to be named as missing.
    return is_video_name(path.name) and (path.is_file() or path.is_symlink())
