"""Reads a video out of a shard: its bytes are fetched, and given to the decoder as a file."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.video_reader import DecodingError, VideoReader


class ShardReader(VideoReader):
    """A reader of a temporary copy, which it deletes on closing.

    Args:
        member: What the copy is of.
        copy: The copy.
        reader: An open reader of the copy.
    """

    def __init__(self, member: ShardMember, copy: Path, reader: VideoReader) -> None:
        self.member, self._reader = member, reader
        self.path, self.table = copy, reader.table

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
        self.path.unlink(missing_ok=True)


def open_member(member: ShardMember, opener: Callable[[Path], VideoReader]) -> ShardReader:
    """Fetch a video from its shard and open it.

    Every decoder reads files, and a clip is small: a copy in the folder for temporary files (``TMPDIR``) serves all.

    Raises:
        DecodingError: It cannot be fetched, or not be decoded.
    """
    try:
        data = member.fetch()
    except Exception as error:  # each kind of storage has errors of its own
        raise DecodingError(str(member), f"cannot be fetched ({error})") from error
    with tempfile.NamedTemporaryFile(prefix="videonl_", suffix=Path(member.name).suffix, delete=False) as file:
        file.write(data)
    copy = Path(file.name)
    try:
        return ShardReader(member, copy, opener(copy))
    except DecodingError as error:
        copy.unlink()
        raise DecodingError(str(member), error.reason) from error
