"""A labelled video of a data set."""

from dataclasses import dataclass
from pathlib import Path

from videonl.data.decoding import FrameTable, VideoReader, open_video
from videonl.data.shard_member import ShardMember


@dataclass(frozen=True)
class Video:
    """A video file and its class.

    Args:
        path: Where the file is.
        label: Index into the class list, from 0.
        frame_table: The frames of the file, where an index knows them (``FrameTable.to_text``): packed, as a data set
            may have hundreds of thousands.
    """

    path: Path | ShardMember
    label: int
    frame_table: str = ""

    def open(self, decoder: str = "auto") -> VideoReader:
        """Open it for reading frames; see :func:`videonl.data.decoding.open_video`."""
        return open_video(self.path, decoder, FrameTable.from_text(self.frame_table) if self.frame_table else None)
