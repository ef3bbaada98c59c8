"""The labeled videos of a data set."""

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray

from videonl.data.reading.decoding import DecodingError, FrameTable, VideoReader, open_video
from videonl.data.reading.segment import Place, whole_of
from videonl.data.reading.shard_member import ShardMember
from videonl.runtime.shared_bytes import SharedBytes

Label: TypeAlias = int | tuple[int, ...]
"""The index of a class, or those of several; :data:`UNKNOWN` where they are not known."""
UNKNOWN = -1


def target_of(label: Label, num_classes: int | None) -> int | torch.Tensor:
    """What a network is to say of a video: the index of its class, or of several labels a row of zeros and ones.

    >>> target_of((0, 2), num_classes=4), target_of(UNKNOWN, num_classes=2)
    (tensor([1., 0., 1., 0.]), tensor([-1., -1.]))

    Args:
        label: Of the video.
        num_classes: Number of classes K, of a task of several labels; else None.
    """
    if num_classes is None:
        assert isinstance(label, int)
        return label
    if isinstance(label, int):
        return torch.full((num_classes,), float(UNKNOWN))
    row = torch.zeros(num_classes)
    row[list(label)] = 1
    return row


@dataclass(frozen=True)
class Video:
    """A video file and its class, or classes.

    Args:
        path: Where it is: a file, or a part of one.
        label: Index into the class list, from 0; of a task of several labels, all of them in rising order.
        frame_table: The frames of the file, where an index knows them (``FrameTable.to_text``): packed, as a data set
            may have hundreds of thousands.
        unreadable: Why an index says that it cannot be read; empty where it can.
    """

    path: Place
    label: Label
    frame_table: str = ""
    unreadable: str = ""

    def open(self, decoder: str = "auto") -> VideoReader:
        """Open it for reading frames; see :func:`videonl.data.reading.decoding.open_video`."""
        return open_video(self.path, decoder, self.known_frames())

    def known_frames(self) -> FrameTable | None:
        """The frames that an index knows.

        Raises:
            DecodingError: They are damaged.
        """
        try:
            return FrameTable.from_text(self.frame_table) if self.frame_table else None
        except ValueError as error:
            reason = "its frame table in the index is damaged; index it again"
            raise DecodingError(str(self.path), reason) from error


class PackedVideos(Sequence[Video]):
    """Videos in memory that all the workers of a data loader share.

    As a list, each worker would be sent its own copy: for the 240,000 of Kinetics seconds, and a third of a gigabyte.

    Args:
        videos: The videos.

    Attributes:
        any_remote: Whether some of them lie in a bucket.
    """

    def __init__(self, videos: Iterable[Video]) -> None:
        self.any_remote = False
        # Segments of one video have one frame table, which may be large: each is kept once.
        tables: dict[str, int] = {}
        places, packed = [], []
        for video in videos:
            self.any_remote = self.any_remote or _is_remote(video.path)
            places.append(tables.setdefault(video.frame_table, len(tables)))
            packed.append(pickle.dumps(replace(video, frame_table="")))
        self._num_videos = len(packed)
        packed += [table.encode() for table in tables]
        ends = np.cumsum([0, *map(len, packed)], dtype=np.int64)
        numbers = np.concatenate([np.array(places, np.int64), ends])
        self._num_numbers = len(numbers)
        self._shared = SharedBytes(b"".join([numbers.tobytes(), *packed]))

    def __len__(self) -> int:
        return self._num_videos

    @overload
    def __getitem__(self, place: int) -> Video: ...

    @overload
    def __getitem__(self, place: slice) -> list[Video]: ...

    def __getitem__(self, place: int | slice) -> Video | list[Video]:
        places = range(len(self))[place]
        if isinstance(places, range):
            return [self[each] for each in places]
        table = self._num_videos + int(self._numbers[places])
        video: Video = pickle.loads(self._packed(places))
        return replace(video, frame_table=bytes(self._packed(table)).decode())

    @property
    def _numbers(self) -> NDArray[np.int64]:
        """For each video the place of its frame table; then where everything that is packed ends."""
        return np.frombuffer(self._shared.view, np.int64, self._num_numbers)

    def _packed(self, place: int) -> memoryview:
        ends = self._numbers[self._num_videos :]
        begin, end = ends[place : place + 2].tolist()
        return self._shared.view[self._numbers.nbytes :][begin:end]


def _is_remote(place: Place) -> bool:
    file = whole_of(place)
    return isinstance(file, ShardMember) and file.is_remote
