import pickle
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from videonl.data.loader import worker_options
from videonl.data.shard_member import ShardMember
from videonl.data.video import PackedVideos, Video

VIDEOS = [
    Video(Path("a/ü.mp4"), 3, "table"),
    Video(ShardMember("s3://bucket/1.tar", 512, 13, "b.mp4"), 0),
    Video(Path("c.mp4"), 5),
]


def test_packed_videos_are_the_videos() -> None:
    packed = PackedVideos(VIDEOS)
    assert list(packed) == VIDEOS
    assert (packed[-1], packed[1:], packed[::-2]) == (VIDEOS[-1], VIDEOS[1:], VIDEOS[::-2])
    for place in (3, -4):
        with pytest.raises(IndexError):
            packed[place]
    assert list(pickle.loads(pickle.dumps(packed))) == VIDEOS
    assert list(PackedVideos([])) == []


class Looked(Dataset[Any]):
    """Videos, and whether they are in memory that is shared."""

    def __init__(self, videos: PackedVideos) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, place: int) -> list[Any]:
        return [self.videos[place], self.videos._bytes.is_shared()]


def test_workers_share_them() -> None:
    loader = DataLoader(Looked(PackedVideos(VIDEOS)), batch_size=None, **worker_options(2))
    assert list(loader) == [[video, True] for video in VIDEOS]
