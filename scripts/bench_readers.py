"""Milliseconds to open a video and read 8 frames at stride 8 from a random start, one thread, per decoder.

    OMP_NUM_THREADS=1 python scripts/bench_readers.py '[FILE, ...]' --num_clips 12

decord and torchcodec are called directly, without listing frames first and whether or not they are exact.
"""

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import decord
import torch
from jsonargparse import auto_cli
from torchcodec.decoders import VideoDecoder

from videonl.data.reading.pyav_reader import PyAVReader
from videonl.data.reading.scan import scan, table_of

Read = Callable[[Path, list[int]], object]
READERS: dict[str, Read] = {
    "pyav": lambda path, indices: PyAVReader(path, scan(path)).read(indices),
    "pyav, listed": lambda path, indices: PyAVReader(path, table_of(path)).read(indices),
    "decord": lambda path, indices: decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy(),
    "torchcodec": lambda path, indices: (
        VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1).get_frames_at(indices).data
    ),
}


def milliseconds(read: Read, path: Path, indices: list[int]) -> float:
    """Time of one reading."""
    start = time.perf_counter()
    read(path, indices)
    return 1e3 * (time.perf_counter() - start)


def bench_readers(paths: list[Path], num_clips: int = 12) -> None:
    """Prints mean times in Markdown.

    Args:
        paths: Video files that every decoder opens.
        num_clips: Number of clips per file; the decoders take turns on each.
    """
    torch.set_num_threads(1)
    decord.logging.set_level(decord.logging.QUIET)
    print("| file | " + " | ".join(READERS) + " |\n|" + " --- |" * (1 + len(READERS)))
    for path in paths:
        last, draw = table_of(path).num_frames - 1, random.Random(1)
        times: dict[str, list[float]] = {name: [] for name in READERS}
        for _ in range(num_clips):
            start = draw.randint(0, max(0, last - 56))
            indices = [min(start + 8 * step, last) for step in range(8)]
            for name, read in READERS.items():
                times[name].append(milliseconds(read, path, indices))
        print(f"| {path.name} | " + " | ".join(f"{statistics.mean(values):.1f}" for values in times.values()) + " |")


if __name__ == "__main__":
    auto_cli(bench_readers)
