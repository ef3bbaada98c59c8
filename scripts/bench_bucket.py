#!/usr/bin/env python
"""Times training clips from a bucket against the same shards on disk, in turns, with a server's latency and failures.

``python scripts/bench_bucket.py FOLDER`` writes videos to FOLDER and starts a server of S3 (moto) on this machine, in a
process of its own. Needs ``pip install s3fs moto flask flask-cors``.
"""

import argparse
import multiprocessing
import os
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from videonl.data.datamodule import ClipDataModule
from videonl.data.indexing.examine import make_index
from videonl.data.loader import Loading
from videonl.data.preparing.shards import write_shards
from videonl.data.sources.labeled import read_source
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic
from videonl.data.transforms import ClipFormat

_SHARD_BYTES = 2_000_000  # small: of each range, this server reads the whole object
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def main() -> None:
    """Makes the videos if they are not there, and times an epoch of each side in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=160)
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--failing", type=float, default=0.0, help="share of the requests that fail with 503")
    given = parser.parse_args()
    os.environ |= _ENVIRONMENT  # first of all: processes that decode begin with what it is now
    serving, os.environ["AWS_ENDPOINT_URL"] = _serve(given.latency_ms / 1000, given.failing)
    shards = given.folder / "shards"
    if not shards.exists():
        _write(given.folder, given.videos, given.size)
    _upload(shards)
    kept = {"cache_gb": 10.0, "cache_folder": str(given.folder / f"kept_{os.getpid()}")}
    sides = {
        "disk": _epochs(str(shards), given.workers),
        "bucket": _epochs("s3://clips/shards", given.workers),
        "bucket, kept": _epochs("s3://clips/shards", given.workers, **kept),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    print(f"{len(read_source(str(shards)))} videos; load {os.getloadavg()[0]:.1f}")
    began = time.time()
    for number in range(-1, given.rounds):  # the first round starts workers, and fills what is kept
        clips = {name: side(number + 1) for name, side in sides.items()}
        for name, (rate, content) in clips.items():
            assert content == clips["disk"][1], f"{name} has other clips than the disk"
            if number >= 0:
                rates[name].append(rate)
    for name, found in rates.items():
        ratio = statistics.median(ours / disk for ours, disk in zip(found, rates["disk"], strict=True))
        print(f"{ratio:.2f}x {name}: {statistics.median(found):.1f} clips/s, {min(found):.1f} to {max(found):.1f}")
    seconds = time.time() - began
    serving.terminate()
    serving.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    share = (used.ru_utime + used.ru_stime) / seconds
    print(f"load {os.getloadavg()[0]:.1f}; the server took {share:.0%} of a core, which a bucket would not")


def _write(folder: Path, num_videos: int, size: int) -> None:
    settings = SyntheticSettings(num_train=num_videos, num_val=2, num_test=2, size_px=size)
    write_synthetic(folder / "videos", settings, lambda done, total: None)
    make_index(read_source(str(folder / "videos" / "train")), folder / "index.parquet", "packets")
    write_shards(folder / "index.parquet", folder / "shards", _SHARD_BYTES)


def _epochs(source: str, num_workers: int, **options: Any) -> Callable[[int], tuple[float, float]]:
    """A function that reads the clips of an epoch: clips a second, and a sum over their pixels."""
    loading = Loading(batch_size=8, num_workers=num_workers, **options)
    data = ClipDataModule(train=source, clip=ClipFormat(num_frames=8, stride_frames=2), loading=loading)
    loader = data.train_dataloader()

    def epoch(number: int) -> tuple[float, float]:
        loader.set_epoch(number)
        began = time.perf_counter()
        num_clips, content = 0, 0.0
        for batch in loader:
            assert not any(batch["failures"]), batch["failures"]
            num_clips += len(batch["clip"])
            content += float(batch["clip"].to(torch.float64).sum())
        return num_clips / (time.perf_counter() - began), content

    return epoch


def _serve(latency_seconds: float, failing: float) -> tuple[BaseProcess, str]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    serving = multiprocessing.get_context("spawn").Process(
        target=_server, args=(theirs, latency_seconds, failing), daemon=True
    )
    serving.start()
    return serving, f"http://127.0.0.1:{ours.recv()}"


def _server(said: Any, latency_seconds: float, failing: float) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    inner, draws = DomainDispatcherApplication(create_backend_app), random.Random(0)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            time.sleep(latency_seconds)
            if environ["REQUEST_METHOD"] == "GET" and draws.random() < failing:
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return []
        answer: Iterable[bytes] = inner(environ, start_response)
        return answer

    server = make_server("127.0.0.1", 0, application, threaded=True)
    said.send(server.server_port)
    server.serve_forever()


def _upload(shards: Path) -> None:
    import s3fs

    storage = s3fs.S3FileSystem()
    storage.makedirs("clips", exist_ok=True)
    storage.put(f"{shards}/", "clips/shards", recursive=True)


if __name__ == "__main__":
    main()
