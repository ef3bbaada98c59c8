"""How far lengths and sizes of the files alone give the classes away: nearest neighbors, without a look at a pixel.

Beside an accuracy this says how much of it anybody could have for nothing:

    python scripts/metadata_baseline.py clips.csv#train clips.csv#val --root FOLDER
"""

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from videonl.data.reading.decoding import open_video
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source


def features(videos: list[LabeledPath]) -> NDArray[np.float64]:
    """Number of frames, height and width of every video, (N, 3)."""
    rows = []
    for video in track(videos, "reading", transient=True):
        with open_video(video.path) as reader:
            rows.append((reader.num_frames, *reader.read([0]).shape[1:3]))
    return np.array(rows, dtype=np.float64)


def metadata_baseline(train: str, test: str, root: Path | None = None) -> None:
    """Prints the accuracy of the nearest neighbor by length, height and width.

    Args:
        train: Source of the videos to compare with.
        test: Source of the videos to classify.
        root: Folder that relative sources and paths are relative to.
    """
    known, asked = read_source(train, root), read_source(test, root)
    points, queries = features(known), features(asked)
    scale = points.std(axis=0) + 1e-9
    distances = np.linalg.norm((queries[:, None] - points[None]) / scale, axis=2)
    hits = sum(known[nearest].label == video.label for nearest, video in zip(distances.argmin(1), asked, strict=True))
    Console().print(
        f"nearest neighbor by length, height and width: {hits} of {len(asked)}, {100 * hits / len(asked):.1f} %"
    )


if __name__ == "__main__":
    auto_cli(metadata_baseline)
