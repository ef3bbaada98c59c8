"""What is in a folder at a URL."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from videonl.data.reading.fetching import insistently, version_in
from videonl.data.reading.url_path import UrlPath
from videonl.terminal import Pace

_UNCACHED = {"use_listings_cache": False}
_ITSELF, _NAMELESS = "", "/"  # instead of a name: the folder that is listed, and one below it without a name
_log = logging.getLogger(__name__)


class Listed(NamedTuple):
    """What is directly in a folder, each sorted by name.

    Attributes:
        files: Its files.
        folders: Its folders.
        nameless: What has no name to be read by: a folder as of the key ``walk//a.mp4``, written ``walk//``, and bytes
            under a key that ends with a slash, written ``walk/``.
    """

    files: list[UrlPath]
    folders: list[UrlPath]
    nameless: list[UrlPath]


class Lister:
    """Lists the files of a folder at a URL and of those below it, and says now and then how many there are so far.

    Each folder is asked for on its own, on S3 in pages of 1000 keys, and nothing that a storage answered is kept: in
    memory are at most the paths of what is directly in one folder, beside those that the caller keeps.
    """

    def __init__(self, root: UrlPath) -> None:
        self._root = root
        self._pace = Pace(10)
        self._num_files = 0

    def __call__(self, folder: UrlPath) -> Listed:
        """What is directly in a folder.

        Raises:
            OSError: The storage does not answer, or there is no such folder.
        """
        files, folders, nameless = [], [], []
        for name, known in _items(folder):
            size_bytes = int(known.get("size") or known.get("Size") or 0) if known else 0
            if name in (_ITSELF, _NAMELESS):
                if name or size_bytes:  # some tools write the folder itself as an empty key of its own
                    nameless.append(UrlPath(f"{folder}/{name}"))
                continue
            if known is None:
                folders.append(UrlPath(f"{folder}/{name}"))
                continue
            files.append(UrlPath(f"{folder}/{name}", size_bytes=size_bytes, version=version_in(known)))
            self._num_files += 1
            if self._pace.is_due():
                _log.info("%s: listed %d files so far", self._root, self._num_files)
        return Listed(sorted(files), sorted(folders), nameless)


def _items(folder: UrlPath) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """The names in a folder, and what the storage says of those that are files."""
    file_system, path = insistently(folder.url, lambda *found: found, **_UNCACHED)
    if hasattr(file_system, "call_s3"):
        yield from _of_s3(folder, *file_system.split_path(path)[:2])
        return
    for known in insistently(folder.url, lambda storage, path: storage.ls(path, detail=True), **_UNCACHED):
        given = str(known["name"])
        name = given.rstrip("/")
        if name == path.rstrip("/"):
            yield (_NAMELESS, None) if given.endswith("//") else (_ITSELF, known)
        else:
            yield name.rpartition("/")[2], None if known["type"] == "directory" else known


def _of_s3(folder: UrlPath, bucket: str, key: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """As :func:`_items`; s3fs itself has all keys of a folder in memory before it gives the first."""
    prefix = f"{key}/" if key else ""
    asked = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    while True:
        page = insistently(folder.url, lambda s3, _, now=asked: s3.call_s3("list_objects_v2", **now), **_UNCACHED)  # type: ignore[misc]  # mypy knows no types of such defaults
        for below in page.get("CommonPrefixes", ()):
            yield below["Prefix"].removeprefix(prefix)[:-1] or _NAMELESS, None
        for known in page.get("Contents", ()):
            yield known["Key"].removeprefix(prefix), known
        if not page.get("IsTruncated"):
            return
        asked = {**asked, "ContinuationToken": page["NextContinuationToken"]}
