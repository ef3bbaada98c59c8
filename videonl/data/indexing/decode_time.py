"""How long a data set takes to decode, from a sample of its videos."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from videonl.data.indexing.index_file import IndexRow
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.data.reading.video_reader import with_recount
from videonl.data.sampling import random_clip

_NUM_RESAMPLED = 2000


class DecodeTime(NamedTuple):
    """Seconds that one process takes to decode one clip, as the mean over a sample of videos.

    Attributes:
        mean_seconds: The mean.
        low_seconds: Lower end of its 95 % interval, by bootstrap over the videos.
        high_seconds: Upper end.
        num_videos: How many videos were decoded.
    """

    mean_seconds: float
    low_seconds: float
    high_seconds: float
    num_videos: int

    def epoch_seconds(self, num_videos: int) -> tuple[float, float, float]:
        """Core-seconds for one clip of each of this many videos: mean, low and high."""
        mean, low, high = self[:3]
        return mean * num_videos, low * num_videos, high * num_videos

    def workers_for(self, clips_per_second: float) -> int:
        """Number of worker processes, one core each, that decode this many clips per second; by the upper end.

        >>> DecodeTime(0.03, 0.02, 0.04, 30).workers_for(100)
        4
        """
        return max(1, int(np.ceil(clips_per_second * self.high_seconds - 1e-9)))


def measure_decoding(
    records: Sequence[IndexRow],
    index: Path | str,
    num_frames: int,
    stride_frames: int,
    num_sampled: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DecodeTime | None:
    """Decode one random clip of each of some videos, one after the other, with one thread.

    Opening the file is included, resizing is not. Files that were read lately come from memory rather than from disk.

    Args:
        records: The videos.
        index: Where the index is that has them.
        num_frames: Frames per clip.
        stride_frames: Distance of its frames.
        num_sampled: How many videos to decode, at most.
        seed: Which videos, and which clips.
        progress: Called with the number of videos decoded and the number of all, after each.

    Returns:
        The time, or None if no video could be decoded.
    """
    chosen = np.random.default_rng(seed).permutation(len(records))[:num_sampled].tolist()
    generator = torch.Generator().manual_seed(seed)
    seconds = []
    for done, place in enumerate(chosen, start=1):
        start = time.perf_counter()
        try:
            with open_video(records[place].location(index)) as reader:
                with_recount(
                    lambda: reader.read(random_clip(reader.num_frames, num_frames, stride_frames, generator=generator))
                )
        except DecodingError:
            continue  # it changed since it was examined; the report is about those that can be read
        seconds.append(time.perf_counter() - start)
        progress(done, len(chosen))
    return _mean_and_interval(seconds) if seconds else None


def _mean_and_interval(seconds: Sequence[float]) -> DecodeTime:
    resampled = np.random.default_rng(0).choice(seconds, size=(_NUM_RESAMPLED, len(seconds))).mean(axis=1)
    low, high = np.quantile(resampled, (0.025, 0.975)).tolist()
    return DecodeTime(float(np.mean(seconds)), low, high, len(seconds))
