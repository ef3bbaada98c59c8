"""Files of results: a message where they cannot be written, and file names in them that are no text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videonl.errors import UserError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Makes the folder of a file that is then written within the context.

    Raises:
        UserError: Folder or file cannot be written: there is a file or folder of that name, no room, or no permission.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); name another place by --out or --run.dir, or make "
            "room there"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8; names of files in it that are no text are escaped."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
