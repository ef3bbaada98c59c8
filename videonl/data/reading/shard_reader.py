"""Reads a video out of a shard: its bytes are fetched, and given to the decoder as a file."""

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch

from videonl.data.reading.fetching import stretches
from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.url_path import Where
from videonl.data.reading.video_reader import DecodingError, VideoReader

_copies = itertools.count(1)


class ShardReader(VideoReader):
    """A reader of a temporary copy, which is gone on closing, and with this process.

    Args:
        member: What the copy is of.
        path: The copy.
        reader: An open reader of the copy.
        keeping: What keeps the copy until it is closed.
    """

    def __init__(self, member: ShardMember, path: Path, reader: VideoReader, keeping: contextlib.ExitStack) -> None:
        self.member, self._reader, self._keeping = member, reader, keeping
        self.path, self.table = path, reader.table

    @property
    def name(self) -> str:
        """See :attr:`VideoReader.name`."""
        return str(self.member)

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        try:
            return self._reader.read(indices)
        except DecodingError as error:
            raise type(error)(str(self.member), error.reason) from error
        finally:
            self.table = self._reader.table  # which may have been counted anew

    def _pass_over(self, indices: Sequence[int]) -> Iterator[torch.Tensor]:
        try:
            yield from self._reader.frames(indices)
        except DecodingError as error:
            raise type(error)(str(self.member), error.reason) from error
        finally:
            self.table = self._reader.table

    def close(self) -> None:
        """Delete the copy."""
        self._reader.close()
        self._keeping.close()


def open_member(member: ShardMember, opener: Callable[[Path], VideoReader]) -> ShardReader:
    """Fetch a video from its shard and open it.

    Every decoder reads files, and a clip is small: a copy in the folder for temporary files (``TMPDIR``) serves all.

    Raises:
        DecodingError: It cannot be fetched, or not be decoded.
    """
    try:
        data = member.fetch()
    except OSError as error:
        raise DecodingError(str(member), f"cannot be fetched ({error})") from error
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(copied([data], Path(member.name).suffix))
        try:
            reader = opener(path)
        except DecodingError as error:
            raise DecodingError(str(member), error.reason) from error
        return ShardReader(member, path, reader, stack.pop_all())


@contextlib.contextmanager
def copied(data: Iterable[bytes], suffix: str) -> Iterator[Path]:
    """A file of these bytes while the context is open, in the folder for temporary files.

    On Linux it has no name in any folder, so that even a process that is killed leaves nothing behind. It is opened
    through the number of its descriptor, which the next copy gets again; and frame tables are kept by path, size and
    time. Hence each copy of a process has a time of its own.
    """
    if sys.platform == "linux":
        with tempfile.TemporaryFile() as file:
            file.writelines(data)
            file.flush()
            seconds = next(_copies)  # whole ones: some file systems keep no fractions
            os.utime(file.fileno(), (seconds, seconds))
            yield Path(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.NamedTemporaryFile(prefix="videonl_", suffix=suffix, delete=False) as named:
        path = Path(named.name)
        try:
            named.writelines(data)
        except BaseException:
            path.unlink()
            raise
    try:
        yield path
    finally:
        path.unlink()


@contextlib.contextmanager
def at_hand(file: Where) -> Iterator[Path]:
    """A path under which a file can be read while the context is open: its own, or that of a temporary copy.

    Raises:
        FileNotFoundError: There is no such file at its URL.
        OSError: It cannot be fetched.
    """
    if isinstance(file, Path):
        yield file
        return
    known = file.known()
    with copied(stretches(known.url, known.size_bytes), known.suffix) as copy:
        yield copy
