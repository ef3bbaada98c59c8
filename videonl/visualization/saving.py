"""Writes a picture or a film whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videonl.errors import UserError


@contextmanager
def replacing(path: str | Path, suffix: str) -> Iterator[Path]:
    """Yields a temporary name beside ``path`` and renames it to ``path`` at the end.

    An error removes the temporary file and leaves ``path`` as it was. Missing folders are made.

    Args:
        path: the file wanted.
        suffix: the ending its name must have, as ``.png``.

    Raises:
        UserError: the name ends differently, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise UserError(f"cannot write {path}: this is a {suffix} file, give it a name that ends in {suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _removed_afterwards(path.with_name(f".{uuid.uuid4().hex}{suffix}")) as temporary:
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}; choose a folder that may be written to and has room") from error


@contextmanager
def _removed_afterwards(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
