"""``videonl prepare``: re-encode the videos of an index for training."""

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from videonl.cli.long_work import workers_here
from videonl.cli.refusals import require_at_least
from videonl.data.indexing.index_file import INDEX_NAME, IndexRow, read_index
from videonl.data.preparing.encoding import Encoding
from videonl.data.preparing.prepare import Failed
from videonl.data.preparing.prepare import prepare as prepare_videos
from videonl.data.preparing.prepare_shards import Engine, prepare_shards
from videonl.data.preparing.shards import write_shards
from videonl.data.reading.url_path import UrlPath, Where, where
from videonl.errors import UserError
from videonl.runtime.cluster import joined
from videonl.runtime.progress import progress_bar
from videonl.terminal import Console

_NUM_SHOWN = 10


def prepare(
    index: str,
    out: str,
    short_side_px: int = 256,
    key_frame_every: int = 16,
    crf: int = 20,
    preset: str = "fast",
    shards: bool = False,
    shard_mb: int = 256,
    num_workers: int | None = None,
    time_limit: float = 600.0,
    cut: bool = False,
    cluster: str | None = None,
    work: Path | None = None,
) -> None:
    """Re-encodes the usable videos of an index as small H.264 files with many key frames, which decode fast.

    Frame i stays frame i, timestamps are kept, sound is dropped, rotation is applied. The sources are only read. An
    interrupted run resumes, and files appear complete or not at all.

    Args:
        index: What ``videonl index`` wrote: a file, a folder with ``index.parquet``, or the URL of either.
        out: The folder to write, or with ``--shards`` its URL (s3://bucket/prepared); its ``index.parquet`` is a source
            for training.
        short_side_px: Length of the shorter side; smaller videos keep their size.
        key_frame_every: Distance of key frames, in frames.
        crf: Quality: constant rate factor of x264, from 0 (lossless) to 51.
        preset: Preset of x264: slower presets give smaller files.
        shards: Also pack the videos into tar files for object storage, in the subfolder ``shards``; at a URL nothing
            else is written.
        shard_mb: Size of a shard in megabytes.
        num_workers: Number of processes; by default one for each core.
        time_limit: Seconds for each video.
        cut: Write a file for each segment that the index names; by default their videos are re-encoded whole, once.
        cluster: A Dask cluster whose workers re-encode: tcp://HOST:PORT of its scheduler, local:N for N workers here,
            or FILE.py, which is run, with a function client() that returns a distributed.Client. All workers must see
            the videos and the folder to write by the same paths; shards are packed here.
        work: A folder of its own here for what is done so far, where ``out`` is a URL; by default a hidden one
            beside the index. It needs room for four shards.
    """
    console = Console()
    start = time.monotonic()
    encoding = Encoding(short_side_px, key_frame_every, crf, preset)
    require_at_least(1, shard_mb=shard_mb)
    num_workers = workers_here(num_workers, cluster)
    target = where(out)
    _require_fitting(target, shards, work)
    with joined(cluster) as engine, progress_bar("re-encoding") as progress:
        limits = Engine(num_workers, time_limit, engine)
        if isinstance(target, UrlPath):
            kept = work or _work_for(index, out)
            try:
                result = prepare_shards(index, target, kept, encoding, shard_mb * 10**6, limits, progress, cut)
            finally:
                if work is None:
                    with suppress(OSError):  # it holds what is done so far, or was not made
                        kept.rmdir()
        else:
            result = prepare_videos(index, target, encoding, num_workers, time_limit, progress, cut, engine)
    records, failed = packed, _ = result
    lines = _summary(read_index(index), records, failed)
    if shards and records:
        folder = target if isinstance(target, UrlPath) else target / "shards"
        if isinstance(target, Path):
            with progress_bar("packing") as progress:
                packed = write_shards(target / INDEX_NAME, target / "shards", shard_mb * 10**6, progress)
        num_shards = len({record.shard for record in packed})
        lines += [f"packed {len(packed)} videos into {num_shards} shards in {folder}"]
    lines += [f"wrote {target / INDEX_NAME} ({time.monotonic() - start:.0f} seconds)"]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _require_fitting(target: Where, shards: bool, work: Path | None) -> None:
    if isinstance(target, UrlPath) and not shards:
        raise UserError(f"{target}: only shards are written to a URL. Add --shards, or name a folder here")
    if isinstance(target, Path) and work is not None:
        raise UserError("--work is for an output at a URL. Remove it")


def _work_for(index: str, out: str) -> Path:
    """A folder beside the index, another one for each output; where the index is at a URL, in the current folder."""
    source = where(index)
    beside = source.absolute() if isinstance(source, Path) else Path(source.name)
    return beside.with_name(f".{beside.stem}.prepare-{hashlib.blake2b(out.encode(), digest_size=4).hexdigest()}")


def _summary(sources: Sequence[IndexRow], records: Sequence[IndexRow], failed: Sequence[Failed]) -> list[str]:
    usable = [record for record in sources if record.usable]
    left_out = len(sources) - len(usable)
    lines = [f"{left_out} of {len(sources)} videos are broken or missing, and left out"] if left_out else []
    lines += [f"failed: {len(failed)}"] if failed else []
    lines += [f"  {failure.path}: {failure.reason}" for failure in failed[:_NUM_SHOWN]]
    lines += [f"  and {len(failed) - _NUM_SHOWN} more"] if len(failed) > _NUM_SHOWN else []
    if not records:
        return lines
    before, after = (
        sum({(record.shard, record.path): record.num_bytes or 0 for record in part}.values()) / 1e6
        for part in (usable, records)
    )
    psnr_db = [record.psnr_db for record in records if record.psnr_db is not None]
    worst, median = np.quantile(psnr_db, (0, 0.5))
    return [
        *lines,
        f"{len(records)} videos, {before:.1f} MB before and {after:.1f} MB now; "
        f"PSNR: median {median:.1f} dB, worst {worst:.1f} dB",
    ]
