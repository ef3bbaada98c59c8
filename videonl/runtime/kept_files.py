"""A bounded folder of bytes by name, which processes share and which outlives them."""

import hashlib
import logging
import os
import threading
import time
from pathlib import Path

logger = logging.getLogger(__name__)
_DIGEST_BYTES = 20
_UNFINISHED = ".unfinished"


class KeptFiles:
    """Keeps bytes that could be had again at a cost; they come back as they were or not at all.

    What cannot be read or written costs that again and nothing else; a warning says so once. Files that were neither
    written nor read since this object was made give way to new ones if ``replaces_older``; all others stay. So a run
    that needs more than fits, each epoch in another order, finds as large a share as fits.

    Args:
        folder: Is made where it is missing.
        max_bytes: From here on nothing more is kept. Processes that write at the same time may exceed it together.
        replaces_older: Whether files that this run does not use are deleted when the folder is full.
    """

    def __init__(self, folder: Path, max_bytes: float, *, replaces_older: bool = False) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.replaces_older = replaces_older
        self._began_seconds = time.time()
        self._said: set[str] = set()
        self.measure()

    def measure(self) -> None:
        """Adds up what all processes have written."""
        self._num_bytes = sum(size for _, size, _ in self._files())

    def read(self, name: str) -> bytes | None:
        """The bytes of a name, or None where there are none or their file is damaged."""
        path = self.folder / name
        try:
            content = path.read_bytes()
            if self.replaces_older:
                os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say_once("cannot read", f"{path}: {error.strerror}; it is made again")
            return None
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(data) != digest:
            self._say_once("damaged", f"{path} is damaged; it is made again")
            self._num_bytes -= len(content)
            return None
        return data

    def write(self, name: str, data: bytes) -> None:
        """Keeps bytes under a name, if there is room."""
        if not self._has_room(len(data) + _DIGEST_BYTES):
            full = f"{self.folder} has reached its limit, {self.max_bytes / 1e9:g} GB; nothing more is kept there"
            self._say_once("full", full)
            return
        # Not flushed to the disk, which takes longer than the bytes may have cost: the digest tells what was lost.
        unfinished = self.folder / f"{name}.{os.getpid()}.{threading.get_ident()}{_UNFINISHED}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(_digest(data) + data)
            os.replace(unfinished, self.folder / name)
            self._num_bytes += len(data) + _DIGEST_BYTES
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            self._say_once(
                "cannot write", f"{self.folder}: cannot be written ({error.strerror}); nothing is kept there"
            )

    def _has_room(self, num_bytes: int) -> bool:
        if self._num_bytes + num_bytes > self.max_bytes and self.replaces_older:
            self._delete_older(num_bytes)
        return self._num_bytes + num_bytes <= self.max_bytes

    def _delete_older(self, num_bytes: int) -> None:
        self.measure()
        for used_seconds, size, path in sorted(self._files()):
            if self._num_bytes + num_bytes <= self.max_bytes or used_seconds >= self._began_seconds:
                return
            path.unlink(missing_ok=True)  # another process may have deleted it
            self._num_bytes -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each file was last used, its size, and where it is."""
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            return [found for entry in entries if (found := _found(entry))]

    def _say_once(self, what: str, message: str) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.warning("%s", message)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _found(entry: "os.DirEntry[str]") -> tuple[float, int, Path] | None:
    try:
        status = entry.stat()
    except FileNotFoundError:  # another process has given it its name meanwhile, or has deleted it
        return None
    return status.st_mtime, status.st_size, Path(entry.path)
