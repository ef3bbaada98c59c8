"""Where a file or folder lies: a path on this machine, or a URL that is used like one."""

import os
import posixpath
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from videonl.data.reading.fetching import facts_of, fetch
from videonl.data.reading.shard_member import ShardMember, is_url
from videonl.errors import UserError

_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")


@dataclass(frozen=True, slots=True)  # there may be a million
class UrlPath(ShardMember):
    """A file of its own, or a folder, at a URL; has what is used of paths, so that code that names files serves both.

    >>> video = UrlPath("s3://bucket/videos") / "walk/a.mp4"
    >>> str(video), video.name, video.stem, video.suffix, str(video.parent)
    ('s3://bucket/videos/walk/a.mp4', 'a.mp4', 'a', '.mp4', 's3://bucket/videos/walk')

    Args:
        url: Anything that fsspec opens.
        offset_bytes: Always 0.
        size_bytes: Its size, if that is known.
        name: The last part of the URL.
        version: What changes when the file does, if that is known: its tag, or its time.
    """

    offset_bytes: int = field(default=0, compare=False)
    size_bytes: int = field(default=0, compare=False)
    name: str = field(default="", compare=False)
    version: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        name = self.url.partition("?")[0] if self.url.startswith("http") else self.url
        object.__setattr__(self, "name", name.rpartition("/")[2])

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, other: str) -> "Where":
        if os.path.isabs(other):
            return Path(other)
        scheme, _, rest = self.url.partition("://")
        is_plain = not {"", ".", ".."} & set(other.split("/"))
        joined = f"{rest}/{other}" if is_plain else posixpath.normpath(f"{rest}/{other}")
        return UrlPath(f"{scheme}://{joined}")

    def __lt__(self, other: "UrlPath") -> bool:
        return self.parts < other.parts

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the folders above and its own."""
        return tuple(self.url.split("/"))

    @property
    def parent(self) -> "UrlPath":
        """The folder that it is in."""
        return UrlPath(self.url.rpartition("/")[0])

    @property
    def stem(self) -> str:
        """The name without suffix."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """How the name ends, with the dot."""
        return Path(self.name).suffix

    def fetch(self) -> bytes:
        """Read the file.

        Raises:
            OSError: It is gone, or the storage does not answer.
        """
        return fetch(self.url)

    def known(self) -> "UrlPath":
        """The same with its size and version, for which the storage is asked unless they are known.

        Raises:
            OSError: It is gone, or the storage does not answer.
        """
        if self.version:
            return self
        size_bytes, version = facts_of(self.url)
        return replace(self, size_bytes=size_bytes, version=version)


Where: TypeAlias = Path | UrlPath
"""Where a file or folder lies."""


def where(name: str | os.PathLike[str]) -> Where:
    """The place that a name means: a path, or a URL.

    >>> where("s3://bucket/videos/"), str(where("videos/"))
    (UrlPath(url='s3://bucket/videos', offset_bytes=0, size_bytes=0, name='videos', version=''), 'videos')

    Raises:
        UserError: It is a URL with a mistake: no bucket, a single slash, or a scheme in capitals.
    """
    text = os.fspath(name)
    if not is_url(text):
        _refuse_one_slash(text)
        return Path(os.path.expanduser(text))
    scheme, _, rest = text.partition("://")
    if not rest.strip("/"):
        raise UserError(f"{text} names no bucket or host. Write it behind the slashes, such as s3://bucket/videos.")
    if scheme != scheme.lower():
        raise UserError(f"{text}: storages are called in small letters. Write {scheme.lower()}://{rest}")
    return UrlPath(text.rstrip("/"))


def _refuse_one_slash(text: str) -> None:
    if (found := _ONE_SLASH.match(text)) and not os.path.lexists(found[1] + ":"):
        url = f"{found[1].lower()}://{text[found.end() :]}"
        raise UserError(f"{text}: there is no such folder, and a URL has two slashes. Write {url}")


def absolute(file: Path | ShardMember) -> Where:
    """The same place, whatever the current folder is."""
    return file if isinstance(file, UrlPath) else Path(os.path.abspath(str(file)))
