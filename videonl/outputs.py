"""Where something is to be written: what can be refused about that before any work is done."""

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

from videonl.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)//?(?=[^/])")  # in a path, two slashes are one
_REMEDY = "Free space there, or name another place"


def check_file(path: Path, inputs: Iterable[Path] = (), num_bytes: int = 0) -> None:
    """Refuses a file to write before any work is done.

    Args:
        path: The file.
        inputs: What the work reads.
        num_bytes: How large the file will be at least.

    Raises:
        UserError: It is a URL, one of the inputs, is a folder, may not be written, or there is no room for it.
    """
    _refuse_url(path, "file")
    _check_place(path, num_bytes)
    if path.is_dir():
        raise UserError(f"{_cannot(path, os.strerror(errno.EISDIR))}. Name a file")
    refuse_inputs([path], inputs)


def check_folder(path: Path, num_bytes: int = 0) -> None:
    """Refuses a folder to write to before any work is done.

    Raises:
        UserError: It is a URL or a file, may not be written to, or there is no room.
    """
    _refuse_url(path, "folder")
    if os.path.isfile(path):
        raise UserError(f"{_cannot(path, 'it is a file')}. Name a folder")
    _check_place(path / "file", num_bytes)


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuses to write over what is read, by whatever names, links and folders both are given.

    Raises:
        UserError: An output is an input.
    """
    existing = [output for output in outputs if os.path.exists(output)]
    for given in inputs if existing else ():
        for output in existing:
            if is_same(output, given):
                also = "" if str(output) == str(given) else f", the same file as {given}"
                raise UserError(f"{output}{also} is an input, and would be overwritten. Write to another place")


def refuse_within(folder: Path, sources: Iterable[Path]) -> None:
    """Refuses a folder to write below a folder that videos are read from.

    Raises:
        UserError: It lies there, where the next reading would take it for a class and its films for videos.
    """
    for source in sources:
        if source.is_dir() and is_below(folder, source):
            raise UserError(
                f"{folder} lies in {source}, from which videos are read: the next time it would be one of their "
                "classes. Write to another place"
            )


def is_below(folder: Path, parent: Path) -> bool:
    """Whether a folder lies in another one, at any depth, and not in a hidden one."""
    path, above = Path(os.path.realpath(folder)), Path(os.path.realpath(parent))
    return above in path.parents and not any(part.startswith(".") for part in path.relative_to(above).parts)


def is_same(one: Path, other: Path) -> bool:
    """Whether both are one file or folder on the disk."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one does not exist, or has a name that none can have
        return False


def cannot_write(path: Path, error: OSError) -> UserError:
    """The message for a file that cannot be written, and what to do about it."""
    kept = "; what it held before is unharmed" if os.path.isfile(path) else ""
    return UserError(f"{_cannot(path, error.strerror or str(error))}{kept}. {_REMEDY}")


def _cannot(path: Path, reason: str) -> str:
    return f"{path} cannot be written ({reason})"


def _refuse_url(path: Path, kind: str) -> None:
    if _SCHEME.match(str(path)):
        url = _SCHEME.sub(r"\1//", str(path), count=1)
        raise UserError(f"{url} is a URL, but this is written to disk; name a {kind} here, and copy it there")


def _check_place(path: Path, num_bytes: int) -> None:
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():  # a device or a pipe
            return
        folder = next(parent for parent in target.parents if parent.exists())
        system = os.statvfs(folder)
    except OSError as error:  # such as a name that is too long
        raise cannot_write(path, error) from error
    if not folder.is_dir():
        raise UserError(f"{_cannot(path, f'{folder} is a file')}. {_REMEDY}")
    if not os.access(folder, os.W_OK | os.X_OK):
        is_read_only = bool(system.f_flag & os.ST_RDONLY)
        number = errno.EROFS if is_read_only else errno.EACCES
        raise UserError(f"{_cannot(path, os.strerror(number))}. Name another place")
    free_bytes = system.f_bavail * system.f_frsize
    if system.f_blocks and free_bytes <= num_bytes:  # some file systems do not say
        room = f"{os.strerror(errno.ENOSPC)}: {free_bytes / 1e6:.1f} MB free, {num_bytes / 1e6:.1f} MB needed"
        raise UserError(f"{_cannot(path, room)}. {_REMEDY}")
