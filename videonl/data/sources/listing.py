"""What is in a folder at a URL."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from videonl.data.reading.fetching import insistently, version_in
from videonl.data.reading.url_path import UrlPath
from videonl.terminal import Pace

_UNCACHED = {"use_listings_cache": False}
_log = logging.getLogger(__name__)


class Lister:
    """Lists the files of a folder at a URL and of those below it, and says now and then how many there are so far.

    Each folder is asked for on its own, on S3 in pages of 1000 keys, and nothing that a storage answered is kept: in
    memory are at most the paths of what is directly in one folder, beside those that the caller keeps.
    """

    def __init__(self, root: UrlPath) -> None:
        self._root = root
        self._pace = Pace(10)
        self._num_files = 0

    def __call__(self, folder: UrlPath) -> tuple[list[UrlPath], list[UrlPath]]:
        """The files and the folders that are directly in a folder, each sorted by name.

        Raises:
            OSError: The storage does not answer, or there is no such folder.
        """
        files, folders = [], []
        for name, known in _items(folder):
            if not name:  # the folder itself, which some tools write as a key of its own
                continue
            if known is None:
                folders.append(UrlPath(f"{folder}/{name}"))
                continue
            size_bytes = int(known.get("size") or known.get("Size") or 0)
            files.append(UrlPath(f"{folder}/{name}", size_bytes=size_bytes, version=version_in(known)))
            self._num_files += 1
            if self._pace.is_due():
                _log.info("%s: listed %d files so far", self._root, self._num_files)
        return sorted(files), sorted(folders)


def _items(folder: UrlPath) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """The names in a folder, and what the storage says of those that are files."""
    file_system, path = insistently(folder.url, lambda *found: found, **_UNCACHED)
    if hasattr(file_system, "call_s3"):
        yield from _of_s3(folder, *file_system.split_path(path)[:2])
        return
    for known in insistently(folder.url, lambda storage, path: storage.ls(path, detail=True), **_UNCACHED):
        name = str(known["name"]).rstrip("/")
        is_itself = name == path.rstrip("/")
        yield "" if is_itself else name.rpartition("/")[2], None if known["type"] == "directory" else known


def _of_s3(folder: UrlPath, bucket: str, key: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """As :func:`_items`; s3fs itself has all keys of a folder in memory before it gives the first."""
    prefix = f"{key}/" if key else ""
    asked = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    while True:
        page = insistently(folder.url, lambda s3, _, now=asked: s3.call_s3("list_objects_v2", **now), **_UNCACHED)  # type: ignore[misc]  # mypy knows no types of such defaults
        for below in page.get("CommonPrefixes", ()):
            yield below["Prefix"].removeprefix(prefix).rstrip("/"), None
        for known in page.get("Contents", ()):
            yield known["Key"].removeprefix(prefix), known
        if not page.get("IsTruncated"):
            return
        asked = {**asked, "ContinuationToken": page["NextContinuationToken"]}
