import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from videonl.data.loader import worker_options
from videonl.data.reading.segment import Segment, VideoPart
from videonl.data.reading.shard_member import FetchedMember, ShardMember
from videonl.data.reading.url_path import UrlPath
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


def test_some_in_a_bucket_are_noticed_wherever_they_stand() -> None:
    here = [VIDEOS[0], VIDEOS[2]]
    fetched = Video(FetchedMember("s3://bucket/1.tar", 512, 1, "b.mp4", b"x"), 0)
    on_disk = Video(ShardMember("/shards/1.tar", 512, 13, "b.mp4"), 0)
    part = Video(VideoPart(UrlPath("s3://bucket/a.mp4", size_bytes=7), Segment(1, 2)), 0)
    assert PackedVideos([*here, VIDEOS[1], *here]).any_remote and PackedVideos([*here, part]).any_remote
    assert not PackedVideos([*here, fetched, on_disk]).any_remote and not PackedVideos([]).any_remote


class Looked(Dataset[Any]):
    """Videos, and what the system knows the memory by that they are in, and its file system."""

    def __init__(self, videos: PackedVideos) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, place: int) -> list[Any]:
        handle = self.videos._shared._handle
        assert handle is not None
        status = os.fstat(handle)
        return [self.videos[place], status.st_ino, status.st_dev]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker has a copy")
def test_workers_share_them_and_take_nothing_of_what_containers_keep_small() -> None:
    looked = Looked(PackedVideos(VIDEOS))
    loaded = list(DataLoader(looked, batch_size=None, **worker_options(2)))
    assert loaded == [looked[place] for place in range(len(VIDEOS))]
    assert loaded[0][2] != os.stat("/dev/shm").st_dev
