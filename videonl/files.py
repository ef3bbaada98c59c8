"""Whole files: there when complete or not at all, whatever happens meanwhile, and written by one process at a time."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from videonl.errors import UserError
from videonl.outputs import cannot_write

UNFINISHED = ".unfinished"  # what a file's name ends in while it is written
LOCK = ".lock"  # the lock of a folder that one process at a time may fill
_LONGEST_NAME = 240  # bytes; file systems allow 255, of which the ending takes some
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # some network file systems have none


class BusyError(UserError):
    """Another process is writing there now."""


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which takes the file's name when all of it has reached the disk.

    Until then, and after an error, the older file keeps the name. What a killed process left is written over. Missing
    folders are made, and a link is followed. A device or a pipe is written to as it is.

    Args:
        path: The file. Beside it there must be room for a second one.

    Yields:
        Where to write; there is an empty file.

    Raises:
        BusyError: Another process is writing it.
        UserError: It cannot be written, as when the disk is full.
    """
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not target.is_file():
            yield target
            return
        unfinished = unfinished_of(target)
        with _held(unfinished, f"{path} is being written by another process; wait for it, or name another place"):
            try:
                os.truncate(unfinished, 0)
                yield unfinished
                _flush(unfinished)
                os.replace(unfinished, target)  # in the same folder, so it is one step: a move between disks is a copy
            except BaseException:
                unfinished.unlink(missing_ok=True)  # it would fill a disk that is full
                raise
        _flush(target.parent)  # lets the new name, too, survive a power cut
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """As :func:`whole_path`, with the file opened to write bytes to."""
    with whole_path(path) as unfinished, unfinished.open("wb") as file:
        yield file


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a folder to fill, which takes its name when all of it has reached the disk; after an error nothing is left.

    Args:
        path: A folder that does not exist, or is empty.

    Yields:
        An empty folder beside it.

    Raises:
        UserError: It cannot be written, as when the disk is full, or another process is writing it.
    """
    target = Path(os.path.realpath(path))
    unfinished = unfinished_of(target)
    with locked(target.with_name(f".{target.name}{LOCK}"), f"{path} is being written"):
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            yield unfinished
            for written in unfinished.iterdir():
                _flush(written)
            os.rename(unfinished, target)
            _flush(target.parent)
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a whole file of UTF-8; what is no text in it, such as names of files, is escaped."""
    with whole_file(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left half written in a folder."""
    for unfinished in folder.glob(f"*{UNFINISHED}"):
        unfinished.unlink(missing_ok=True)


@contextmanager
def locked(lock: Path, what: str) -> Iterator[None]:
    """Keeps other processes from the same work; the lock ends with this process, however that ends.

    Args:
        lock: A file for it, which is removed in the end; its folder is made where it is missing.
        what: What is being done where, for the message.

    Raises:
        UserError: Another process holds the lock, or the file cannot be made.
    """
    with ExitStack() as holding:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            holding.enter_context(
                _held(lock, f"{what} already, in another process; wait for it, or name another place")
            )
        except OSError as error:
            raise cannot_write(lock, error) from error
        holding.callback(lock.unlink, missing_ok=True)  # while it is held: nobody else can have it yet
        yield


def unfinished_of(target: Path) -> Path:
    """Where a file is written before it is whole."""
    return target.with_name(os.fsdecode(os.fsencode(target.name)[:_LONGEST_NAME]) + UNFINISHED)


@contextmanager
def _held(path: Path, refusal: str) -> Iterator[None]:
    """Opens or makes a file and holds its lock, which the system releases when this process ends."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, refusal)
            if _is_still(path, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, refusal: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError(refusal) from error
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the name is still that file's: whoever held the lock before may have renamed or removed it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
