"""Pictures, films and pages under names that say what they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videonl.errors import UserError
from videonl.files import whole_path


@contextmanager
def replacing(path: str | Path, suffix: str) -> Iterator[Path]:
    """As :func:`videonl.files.whole_path`, for a file whose name must have an ending.

    Args:
        path: the file wanted.
        suffix: the ending, as ``.png``.

    Raises:
        UserError: the name ends differently, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise UserError(f"cannot write {path}: this is a {suffix} file; its name must end in {suffix}")
    with whole_path(path) as unfinished:
        yield unfinished
