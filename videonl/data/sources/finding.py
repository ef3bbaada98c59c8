"""The files that lists name: by what they are called, in any folder below a root, or at the paths that are listed."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from videonl.data.reading.segment import whole_of
from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.errors import UserError

_NUM_PROBED_FILES = 20


class VideosBelow:
    """The videos in any folder below a root, by their names without suffix.

    Args:
        root: The folder to search, links to folders included.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_stem: Mapping[str, Sequence[Path]] = _files_by_stem(root)

    def find(self, stems: Iterable[str], otherwise: str | Path, folder: str = "") -> Path:
        """The file of the first name that exists; in a folder of a certain name, if several fit.

        Args:
            stems: Names without suffix.
            otherwise: Where below the root the file is expected, if there is none.
            folder: That name.
        """
        found = next((self.by_stem[stem] for stem in stems if stem in self.by_stem), [self.root / otherwise])
        return next((path for path in found if folder and folder in path.parts), found[0])


def require_some(list_file: Path, entries: Sequence[LabeledPath], root: Path) -> None:
    """Refuses a list of which no video was found.

    Raises:
        UserError: Naming one, and the root.
    """
    places = {str(whole_of(entry.path)) for entry in entries}
    if not any(map(os.path.exists, places)):
        raise UserError(
            f"{list_file}: none of its {len(places)} clips was found below {root} (looked for "
            f"{Path(str(whole_of(entries[0].path))).name} and so on). Name the folder of the videos: --root, or "
            "--data.root."
        )


def check_first_files(list_file: Path, entries: Sequence[LabeledPath], base: Path) -> None:
    """Refuses a list of which none of the first files exists.

    Raises:
        UserError: Showing how the first row was read.
    """
    # Every file is not checked: on network storage that takes minutes, and the reader reports a missing one by name.
    paths = [Path(str(whole_of(entry.path))) for entry in entries[:_NUM_PROBED_FILES]]
    if any(map(os.path.exists, paths)):
        return
    if any("\\" in str(video) for video in paths):
        remedy = "Write / between folders, not the backslashes of Windows."
    elif not any(video.is_relative_to(base) for video in paths):
        remedy = "The paths are absolute, so no root applies to them: give --data.path-prefix OLD=NEW, or correct them."
    else:
        remedy = f"Relative paths were resolved against {base}; set --data.root (or --root) to their base folder."
    label = "no label" if entries[0].label is None else f"the label {entries[0].label!r}"
    raise UserError(
        f"{list_file}: none of the first files listed exists. {entries[0].origin} was read as {paths[0]} with {label}. "
        f"{remedy}"
    )


def _files_by_stem(root: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    visited = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in visited:  # links may go round in a circle
            subfolders.clear()
            continue
        visited.add(os.path.realpath(folder))
        for name in names:
            if is_video_name(name):
                files[Path(name).stem].append(Path(folder, name))
    return {stem: sorted(paths) for stem, paths in files.items()}
