#!/usr/bin/env python
"""Times the commands that read a whole index on one of a million rows, which are copies of real rows.

``python scripts/bench_rows.py FOLDER [--rows 1000000]`` writes about a gigabyte of index to FOLDER, and 2,000 links
that give each row a path of its own to a real video.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from videonl.data.indexing.examine import make_index
from videonl.data.sources.labeled import read_source
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic

_NUM_CLASSES = 400
_PER_FOLDER = 1000
_READ = "from videonl.data.indexing.index_file import read_index; read_index({!r})"
_ONE_STEP = [
    *("--config", "experiment/folders.yaml", "--trainer.accelerator", "cpu", "--trainer.max_steps", "1"),
    *("--trainer.limit_val_batches", "0", "--trainer.num_sanity_val_steps", "0", "--run.loggers", "[]"),
    *("--data.clip.stride_frames", "1", "--data.loading.batch_size", "2", "--data.loading.num_workers", "2"),
]


def main() -> None:
    """Makes the index if it is not there, and runs the commands named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--commands", nargs="*", default=[], help="read, doctor, split, fit; by default all")
    given = parser.parse_args()
    index = given.folder / "index.parquet"
    if not index.exists():
        write_rows(given.folder, given.rows)
    videonl = [sys.executable, "-m", "videonl"]
    commands = {
        "read": [sys.executable, "-c", _READ.format(str(index))],
        "doctor": [*videonl, "doctor", str(index)],
        "split": [*videonl, "split", str(index), "--by", "clip_id", "--shares", "0.9,0.1", "--again", "true"],
        "fit": [*videonl, "fit", *_ONE_STEP, "--data.root", str(given.folder)],
    }
    print(f"{given.rows:,} rows, {index.stat().st_size / 2**20:.0f} MiB; load {os.getloadavg()[0]:.1f}")
    commands["split"] += ["--out", str(given.folder / "split.csv")]
    commands["fit"] += [f"--data.{split}={index}#{split}" for split in ("train", "val", "test")]
    commands["fit"] += ["--run.dir", str(given.folder / "run")]
    for name in given.commands or commands:
        measure(name, commands[name])


def write_rows(folder: Path, num_rows: int) -> None:
    """An index of links to real videos, with the facts of these."""
    write_synthetic(folder / "real", SyntheticSettings(num_train=2, num_val=2, num_test=2), lambda done, total: None)
    (real,) = make_index(read_source(str(folder / "real"))[:1], folder / "real.parquet")
    video = Path(os.path.abspath(folder / real.path))
    (folder / "videos").mkdir()
    for number in range(_PER_FOLDER):
        (folder / "videos" / f"{number}.mp4").symlink_to(video)
    for number in range(-(-num_rows // _PER_FOLDER)):
        (folder / f"v{number}").symlink_to("videos")
    (row,) = pq.read_table(folder / "real.parquet").to_pylist()
    schema = pq.read_schema(folder / "real.parquet")
    columns = {name: [row[name]] * num_rows for name in schema.names}
    numbers = range(num_rows)
    columns |= {
        "path": [f"v{number // _PER_FOLDER}/{number % _PER_FOLDER}.mp4" for number in numbers],
        "label": [f"class {number % _NUM_CLASSES}" for number in numbers],
        "split": ["val" if number % 20 == 0 else "train" for number in numbers],
        "clip_id": [f"{number:011d}" for number in numbers],
        "content_hash": [f"{number:032x}" for number in numbers],
    }
    pq.write_table(pa.table(columns, schema=schema), folder / "index.parquet")


def measure(name: str, words: list[str]) -> None:
    """Prints the time of a command, and the peak of memory of its largest process."""
    start = time.monotonic()
    pid = os.spawnvpe(os.P_NOWAIT, words[0], words, dict(os.environ))
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    print(f"{name}: {time.monotonic() - start:.1f} s, {usage.ru_maxrss / 2**20:.2f} GiB, exit code {code}", flush=True)


if __name__ == "__main__":
    main()
