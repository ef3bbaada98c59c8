"""Files that are there whole or not at all, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from videonl.errors import UserError

UNFINISHED = ".unfinished"  # what a file's name ends in while it is written


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes its name only when all of it has reached the disk; until then the older one keeps it.

    Args:
        path: The file. Beside it there must be room for a second one.

    Yields:
        The file to write to.

    Raises:
        UserError: It cannot be written, as when the disk is full; the older file is unharmed.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)  # in the same folder, so it is one step: a move between disks is a copy
        _sync_folder(path.parent)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); what it held before is unharmed. Free space or "
            "mend the disk, then resume with --ckpt_path last"
        ) from error


def remove_unfinished(folder: Path) -> None:
    """Removes what a killed process left half written in a folder."""
    for unfinished in folder.glob(f"*{UNFINISHED}"):
        unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Lets the new name, too, survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
