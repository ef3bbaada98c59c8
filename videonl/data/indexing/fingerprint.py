"""What tells whether a file is the same as before, or as another: its size and time, and a hash of its bytes."""

import hashlib
import os
from pathlib import Path

from videonl.data.reading.url_path import UrlPath, Where


def file_key(path: Path) -> tuple[int, int]:
    """Size in bytes and time of modification in nanoseconds: what changes when a file does.

    Raises:
        OSError: There is no such file.
    """
    if path.is_dir():
        entries = [entry.stat() for entry in os.scandir(path)]
        return sum(entry.st_size for entry in entries), max(
            [path.stat().st_mtime_ns, *(e.st_mtime_ns for e in entries)]
        )
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def place_key(file: Where) -> tuple[int, int | None, str]:
    """Size, time of modification and version: of a file here the first two, at a URL size and version.

    Raises:
        OSError: There is no such file, or its storage does not answer.
    """
    if isinstance(file, UrlPath):
        known = file.known()
        return known.size_bytes, None, known.version
    return *file_key(file), ""


def content_hash(path: Path) -> str:
    """BLAKE2b of a file's bytes, or of the names and bytes in a folder of frames."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(os.fsencode(file.name) + b"\0")
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
