"""The labelled videos of a data set."""

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import overload

import torch

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


class PackedVideos(Sequence[Video]):
    """Videos in two tensors, which all the workers of a data loader share.

    As a list, each worker would be sent its own copy: for the 240,000 of Kinetics seconds, and a third of a gigabyte.

    Args:
        videos: The videos.
    """

    def __init__(self, videos: Iterable[Video]) -> None:
        packed = [pickle.dumps(video) for video in videos]
        self._ends = torch.tensor([0, *accumulate(map(len, packed))])
        self._bytes = torch.frombuffer(bytearray(b"".join([*packed, b"."])), dtype=torch.uint8)  # it takes no empty one

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Video: ...

    @overload
    def __getitem__(self, place: slice) -> list[Video]: ...

    def __getitem__(self, place: int | slice) -> Video | list[Video]:
        places = range(len(self))[place]
        if isinstance(places, range):
            return [self[each] for each in places]
        begin, end = self._ends[places : places + 2].tolist()
        video: Video = pickle.loads(self._bytes[begin:end].numpy().data)
        return video
