"""Videos as folders of frames, and a data set with one file of every kind of trouble."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videonl.data.indexing.examine import make_index
from videonl.data.reading.segment import Segment, VideoPart
from videonl.data.sources.entry import LabeledPath

NUM_BITS = 8


def _write_frames(
    folder: Path, num_frames: int, height: int = 46, width: int = 62, name: str = "img_{:05d}.png"
) -> Path:
    folder.mkdir(parents=True)
    for index in range(num_frames):
        bits = np.array([(index >> (NUM_BITS - 1 - bit)) & 1 for bit in range(NUM_BITS)], dtype=np.uint8) * 255
        row = bits[np.arange(width) * NUM_BITS // width]
        Image.fromarray(np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=2)).save(
            folder / name.format(index)
        )
    return folder


@pytest.fixture
def write_frames() -> Callable[..., Path]:
    """``write_frames(folder, num_frames)`` writes images that show their index like those of ``encode_video``."""
    return _write_frames


@pytest.fixture
def troubled(tmp_path: Path, encode_video: Callable[..., Path]) -> Path:
    """A list with two good videos in train and val, a copy of one across splits, and six kinds of trouble."""
    videos = tmp_path / "videos"
    good = encode_video(videos / "a b" / "good one.mp4", num_frames=23)
    encode_video(videos / "c" / "other.mkv", num_frames=31, options={"bf": "0", "g": "7"})
    shutil.copy(good, videos / "c" / "copy.mp4")
    data = good.read_bytes()
    (videos / "truncated.mp4").write_bytes(data[: len(data) // 2])
    (videos / "empty.mp4").touch()
    (videos / "garbage.mp4").write_bytes(b"no video" * 999)
    os.mkfifo(videos / "pipe.mp4")
    rows = ["a b/good one.mp4,a b,train", "c/other.mkv,c,val", "c/copy.mp4,c,val"]
    rows += [f"{name}.mp4,c,train" for name in ("truncated", "empty", "garbage", "pipe", "gone")]
    (videos / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    return videos / "list.csv"


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory, video_folder: Path) -> Path:
    """An index of seven segments, of two classes, of two of the videos of ``video_folder``."""
    index = tmp_path_factory.mktemp("segments") / "index.parquet"
    long = sorted(video_folder.glob("*/*.mp4"))[3:5]
    parts = [VideoPart(long[place % 2], Segment(3 * place, 3 * place + 5, in_frames=True)) for place in range(7)]
    entries = [LabeledPath(part, "ab"[place % 3 // 2], str(place)) for place, part in enumerate(parts)]
    make_index(entries, index, "packets")
    return index
