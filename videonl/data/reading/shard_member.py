"""A video inside a shard: a stretch of bytes of a tar file, which may lie in a bucket."""

from dataclasses import dataclass, field

from videonl.data.reading.fetching import fetch


@dataclass(frozen=True, slots=True)
class ShardMember:
    """Where a video lies in a shard.

    Args:
        url: The shard: a path or anything that fsspec opens (``s3://``, ``gs://``, ``https://``).
        offset_bytes: Where the video begins in it.
        size_bytes: How long it is.
        name: The name of the video, whose suffix says its format.
    """

    url: str
    offset_bytes: int
    size_bytes: int
    name: str

    def __str__(self) -> str:
        return f"{self.url}/{self.name}"

    @property
    def is_remote(self) -> bool:
        """Whether it lies in a storage that has to be asked for it."""
        return is_url(self.url)

    def fetch(self) -> bytes:
        """Read the video's bytes, and no others.

        Raises:
            OSError: The shard is gone or shorter than that, or the storage does not answer.
        """
        data = fetch(self.url, self.offset_bytes, self.offset_bytes + self.size_bytes)
        if len(data) != self.size_bytes:
            raise OSError(f"{self.url} ends {self.size_bytes - len(data)} bytes too early")
        return data


@dataclass(frozen=True, slots=True)
class FetchedMember(ShardMember):
    """A video inside a shard, or at a URL of its own, whose bytes are already here.

    Args:
        data: All of them.
    """

    data: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return self.url if self.url.endswith(f"/{self.name}") else f"{self.url}/{self.name}"

    @property
    def is_remote(self) -> bool:
        """It is here."""
        return False

    def fetch(self) -> bytes:
        """The bytes."""
        return self.data


def is_url(source: str) -> bool:
    """Whether a source is a URL rather than a path.

    >>> is_url("s3://bucket/shards#train"), is_url("clips.csv#train")
    (True, False)
    """
    return "://" in source
