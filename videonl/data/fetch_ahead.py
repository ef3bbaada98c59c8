"""Fetches the videos of a batch before they are decoded: several at a time, neighbors in a shard at once.

From a bucket, each request takes tens of milliseconds before its first byte comes. A process that decodes one video
after the other would wait so long for each. Here the order is known, so all of a batch are asked for at once, and those
of the next one while this one is decoded.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice, tee, zip_longest
from typing import Any

from torch.utils.data import Sampler

from videonl.data.reading.fetching import fetch, version_of
from videonl.data.reading.segment import Place, VideoPart, whole_of
from videonl.data.reading.shard_member import FetchedMember, ShardMember
from videonl.data.reading.url_path import UrlPath
from videonl.data.video import Video
from videonl.runtime.kept_files import KeptFiles

_REQUESTS_AT_ONCE = 8
_MOST_AT_ONCE_BYTES = 32_000_000  # of one request for neighbors
_MOST_GAP_BYTES = 65_536  # between neighbors: it comes sooner than the answer to another request
_MOST_AHEAD_BYTES = 256_000_000  # of a batch; what is beyond is fetched when its turn comes


class Batch(list[Any]):
    """The keys of a batch.

    Attributes:
        then: Those of the batch that the same worker loads next.
    """

    then: Sequence[Any] = ()


class Foreseen(Sampler[Batch]):
    """The same batches, each with the keys of the one that the same worker loads next: workers take turns.

    Args:
        batches: The keys of each batch, or a sampler of them.
        num_workers: Number of worker processes; with 0 the next batch is simply the next.
    """

    def __init__(self, batches: Iterable[Sequence[Any]], num_workers: int) -> None:
        self.batches = batches
        self.num_workers = num_workers

    @property
    def sampler(self) -> Any:
        """That of the videos, where the trainer looks for the one whose epoch it sets."""
        return getattr(self.batches, "sampler", None)

    def __iter__(self) -> Iterator[Batch]:
        now, later = tee(self.batches)
        for keys, then in zip_longest(now, islice(later, max(1, self.num_workers), None), fillvalue=()):
            batch = Batch(keys)
            batch.then = then
            yield batch

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]  # each sampler of batches has a length


class FetchAhead:
    """Fetches members of shards, and files of known size, from buckets in threads of its own; hands out their bytes.

    Args:
        kept: Where fetched videos are kept from epoch to epoch and from run to run; None keeps nothing.
    """

    def __init__(self, kept: KeptFiles | None = None) -> None:
        self.kept = kept
        self._coming: dict[ShardMember, Future[dict[ShardMember, bytes]]] = {}
        self._threads: ThreadPoolExecutor | None = None  # made by the process that fetches
        self._versions: dict[str, str] = {}

    def begin(self, videos: Iterable[Video], then: Iterable[Video] = ()) -> None:
        """Starts to fetch those videos of a batch that lie in buckets; what was fetched before is let go.

        Args:
            videos: Those of the batch.
            then: Those of the next one.
        """
        videos = chain(videos, then)
        wanted = _first_of(dict.fromkeys(member for video in videos if (member := _remote(video.path))))
        self._coming = {member: self._coming[member] for member in wanted if member in self._coming}
        for neighbors in _neighbors([member for member in wanted if member not in self._coming]):
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_REQUESTS_AT_ONCE, "videonl-fetch")
            self._coming |= dict.fromkeys(neighbors, self._threads.submit(self._fetch, neighbors))

    def fetched(self, video: Video) -> Video:
        """The same video with its bytes, if they could be fetched; waits for those that are on their way."""
        member = _remote(video.path)
        coming = self._coming.get(member) if member is not None else None
        if member is None or coming is None:
            return video
        try:
            data = coming.result()[member]
        except OSError:  # whoever opens it is told why
            return video
        return video if len(data) != member.size_bytes else _with_bytes(video, member, data)

    def _fetch(self, neighbors: Sequence[ShardMember]) -> dict[ShardMember, bytes]:
        found = {member: data for member in neighbors if (data := self._read_kept(member)) is not None}
        missing = [member for member in neighbors if member not in found]
        if missing:
            begin_bytes = missing[0].offset_bytes
            # Of a file all, lest one that has grown since it was indexed is cut off.
            stretch = () if isinstance(missing[0], UrlPath) else (begin_bytes, _end_bytes(missing[-1]))
            whole = memoryview(fetch(missing[0].url, *stretch))
            if isinstance(missing[0], UrlPath) and len(whole) != missing[0].size_bytes:
                raise OSError(f"{missing[0].url} has changed since it was indexed")
            for member in missing:
                found[member] = bytes(whole[member.offset_bytes - begin_bytes :][: member.size_bytes])
                self._keep(member, found[member])
        return found

    def _read_kept(self, member: ShardMember) -> bytes | None:
        name = self._name_of(member) if self.kept else None
        return self.kept.read(name) if self.kept and name else None

    def _keep(self, member: ShardMember, data: bytes) -> None:
        name = self._name_of(member) if self.kept else None
        if self.kept and name and len(data) == member.size_bytes:
            self.kept.write(name, data)

    def _name_of(self, member: ShardMember) -> str | None:
        """Another one for each version of the shard; None where the storage does not tell versions apart."""
        try:
            version = self._versions.get(member.url) or self._versions.setdefault(member.url, version_of(member.url))
        except OSError:
            return None
        what = f"{member.url}\n{version}\n{member.offset_bytes}\n{member.size_bytes}"
        return hashlib.blake2b(what.encode(), digest_size=20).hexdigest()


def _remote(place: Place) -> ShardMember | None:
    """The member of a shard, or file, in a bucket that a place is, or is part of; None for all else."""
    file = whole_of(place)
    return file if isinstance(file, ShardMember) and file.is_remote and file.size_bytes else None


def _with_bytes(video: Video, member: ShardMember, data: bytes) -> Video:
    file = FetchedMember(member.url, member.offset_bytes, member.size_bytes, member.name, data)
    place = video.path
    return replace(video, path=replace(place, file=file) if isinstance(place, VideoPart) else file)


def _first_of(members: Iterable[ShardMember]) -> list[ShardMember]:
    """The first members, as many as may wait in memory."""
    chosen, num_bytes = [], 0
    for member in members:
        num_bytes += member.size_bytes
        if num_bytes > _MOST_AHEAD_BYTES:
            break
        chosen.append(member)
    return chosen


def _neighbors(members: Iterable[ShardMember]) -> list[list[ShardMember]]:
    """Members that lie close together in one shard, as lists in the order of their places."""
    found: list[list[ShardMember]] = []
    for member in sorted(members, key=lambda each: (each.url, each.offset_bytes)):
        if found and _is_close(found[-1], member):
            found[-1].append(member)
        else:
            found.append([member])
    return found


def _is_close(neighbors: Sequence[ShardMember], member: ShardMember) -> bool:
    first, last = neighbors[0], neighbors[-1]
    gap_bytes = member.offset_bytes - _end_bytes(last)
    whole_bytes = _end_bytes(member) - first.offset_bytes
    return member.url == last.url and gap_bytes <= _MOST_GAP_BYTES and whole_bytes <= _MOST_AT_ONCE_BYTES


def _end_bytes(member: ShardMember) -> int:
    return member.offset_bytes + member.size_bytes
