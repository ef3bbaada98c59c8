"""What it would cost to prepare a data set: an estimate from a few of its videos, which are re-encoded for it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videonl.data.indexing.decode_time import DecodeTime, measure_decoding
from videonl.data.indexing.index_file import IndexRow
from videonl.data.preparing.encoding import Encoding
from videonl.data.preparing.prepare import Job, encode_one, sources_of
from videonl.errors import UserError

_NUM_RESAMPLED = 2000


class PrepareCost(NamedTuple):
    """What ``videonl prepare`` would need for a data set, in proportion to the frames of those that were prepared.

    Attributes:
        num_measured: How many videos were prepared.
        num_files: How many there are.
        core_seconds: Of all files: the estimate, and the ends of its 95 % interval, by bootstrap over the videos.
        bytes_read: Size of all files, which the index knows.
        bytes_written: The estimated size of what is written.
        decoding: What decoding a clip takes of what was prepared, if it can be decoded.
    """

    num_measured: int
    num_files: int
    core_seconds: tuple[float, float, float]
    bytes_read: int
    bytes_written: float
    decoding: DecodeTime | None


def measure_preparing(
    records: Sequence[IndexRow],
    index: Path | str,
    folder: Path,
    clip: tuple[int, int],
    num_sampled: int,
    encoding: Encoding = Encoding(),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PrepareCost | None:
    """Prepares some videos, in this process, and counts the time of its cores.

    Args:
        records: The usable rows of an index.
        index: Where that is.
        folder: An empty folder to write to.
        clip: Number and distance of the frames of a clip, for the decoding of what was prepared.
        num_sampled: How many videos to prepare, at most.
        encoding: How.
        progress: Called with the number of videos prepared and the number of all, after each.

    Returns:
        The estimate; None where no video could be prepared.

    Raises:
        UserError: The videos lie in shards.
    """
    if any(record.shard for record in records):
        raise UserError(f"{index}: its videos are prepared already, into shards. Leave out --cost")
    files = list({record.path: record for record in records}.values())
    chosen = _chosen(files, num_sampled)
    seconds, measured, rows = [], [], []
    for done, (record, source) in enumerate(zip(chosen, sources_of(chosen, index, cut=False), strict=True), 1):
        start = time.process_time()
        row = encode_one(Job(record, source, folder, f"{done}.mp4", encoding))
        if isinstance(row, IndexRow):
            seconds.append(time.process_time() - start)
            measured.append(record)
            rows.append(row)
        progress(done, len(chosen))
    decoding = measure_decoding(rows, folder, *clip, num_sampled=len(rows))
    return _of_all(files, measured, seconds, rows, decoding) if rows else None


def _chosen(files: Sequence[IndexRow], num_sampled: int) -> list[IndexRow]:
    return [files[place] for place in np.random.default_rng(0).permutation(len(files))[:num_sampled].tolist()]


def _of_all(
    files: Sequence[IndexRow],
    measured: Sequence[IndexRow],
    seconds: Sequence[float],
    rows: Sequence[IndexRow],
    decoding: DecodeTime | None,
) -> PrepareCost:
    frames = np.array([record.num_frames or 0 for record in measured])
    all_frames = sum(record.num_frames or 0 for record in files)
    per_frame = np.sum(seconds) / frames.sum()
    drawn = np.random.default_rng(0).integers(len(frames), size=(_NUM_RESAMPLED, len(frames)))
    low, high = np.quantile(np.array(seconds)[drawn].sum(axis=1) / frames[drawn].sum(axis=1), (0.025, 0.975))
    written_per_frame = sum(row.num_bytes or 0 for row in rows) / frames.sum()
    return PrepareCost(
        len(measured),
        len(files),
        (float(per_frame * all_frames), float(low * all_frames), float(high * all_frames)),
        sum(record.num_bytes or 0 for record in files),
        float(written_per_frame * all_frames),
        decoding,
    )
