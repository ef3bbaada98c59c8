"""Folders for temporary files, of which a process that was killed leaves none for longer than until the next one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "videonl_temporary_"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Gives an empty folder, which goes when the context ends.

    It lies where temporary files do (``TMPDIR``). Its process holds a lock on it, which ends with the process, however
    that ends: so whoever asks for a folder first removes those that nobody holds any more.
    """
    _remove_left()
    with contextlib.ExitStack() as holding:
        yield _held_folder(holding)


def _held_folder(holding: contextlib.ExitStack) -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = _open(folder)
        with contextlib.suppress(OSError):  # a file system without locks: nobody removes there what others left
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            holding.callback(os.close, lock)
            holding.callback(shutil.rmtree, folder, ignore_errors=True)
            return folder
        os.close(lock)  # another process took it for one that was left, in the moment before it was locked


def _remove_left() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = _open(folder)
        except OSError:  # of another user, or gone since
            continue
        with contextlib.suppress(OSError):  # it is in use, or that cannot be told
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # nobody's link
