"""What several commands refuse in the same words."""

import math
import os
from pathlib import Path

from videonl.data.reading.url_path import Where, where
from videonl.data.sources.videos import refuse_stream
from videonl.errors import UserError, require_within


def require_at_least(least: int, most: float = math.inf, **options: float | None) -> None:
    """Refuses options, by their names, that are less, more, or no number; None is an option that is not given.

    Raises:
        UserError: Naming option and value.
    """
    require_within(least, most, **{f"--{name}": value for name, value in options.items()})


def require_video(name: str) -> str:
    """The file, folder or URL that an option names.

    Raises:
        UserError: It names none, or a live stream.
    """
    if not name:
        raise UserError("--video names no file; write --video FILE")
    refuse_stream(name)
    return name


def root_of(root: str | None) -> Where | None:
    """The folder that an option ``--root`` names, or its URL.

    Raises:
        UserError: There is no such folder.
    """
    place = where(root) if root else None
    if isinstance(place, Path):
        place = Path(os.path.abspath(place))
        if not place.is_dir():
            raise UserError(f"{root}: no such folder. Correct --root.")
    return place
