"""A real offline run of Weights & Biases, read back from its file."""

import hashlib
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BLOCK_BYTES, HEADER_BYTES = 32768, 7


def records_of(run_file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format after a file header of seven bytes."""
    data = run_file.read_bytes()
    assert data.startswith(b":W&B")
    position, parts = HEADER_BYTES, []
    while position + HEADER_BYTES <= len(data):
        left_in_block = BLOCK_BYTES - position % BLOCK_BYTES
        if left_in_block < HEADER_BYTES:  # too little for a header: padding
            position += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += HEADER_BYTES
        parts.append(data[position : position + length])
        position += length
        if kind in (1, 4):  # a whole record, or its last part
            yield b"".join(parts)
            parts = []


def history_of(run_file: Path) -> list[dict[str, Any]]:
    """What was logged, one mapping for each call."""
    from wandb.proto.wandb_internal_pb2 import Record

    records = [Record.FromString(data) for data in records_of(run_file)]
    rows = [record.history.item for record in records if record.HasField("history")]
    return [{"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row} for row in rows]


def until_there(read: Callable[[], list[Any]], seconds: float = 30) -> list[Any]:
    """What is read, once there is some: a process of wandb's own writes the file, and on a busy machine lags behind."""
    deadline = time.monotonic() + seconds
    while not (rows := read()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return rows


@pytest.mark.filterwarnings("ignore")  # wandb has many of its own
def test_offline_run_holds_what_was_logged(videonl: Callable[..., Any], small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert videonl("fit", "--config", small_config, "--run.dir", run, "--run.wandb", "offline").code == 0
    (run_file,) = run.glob("wandb/offline-run-*/*.wandb")
    rows = until_there(lambda: history_of(run_file))
    assert {"train/loss_step", "train/top1", "val/top1", "lr-AdamW/pg1"} <= {key for row in rows for key in row}
    losses = [row["train/loss_step"] for row in rows if "train/loss_step" in row]
    assert len(losses) == 2
    assert all(0 < loss < 10 for loss in losses)


@pytest.mark.filterwarnings("ignore")  # wandb has many of its own
def test_offline_run_holds_the_films(videonl: Callable[..., Any], small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--run.wandb", "offline", "--run.films_every_epochs", 1]
    assert videonl("fit", "--config", small_config, "--run.dir", run, *options).code == 0
    films = sorted((run / "films").glob("*/*/*.mp4"))
    assert [film.parts[-3] for film in films] == ["epoch_0000"] * 2
    assert [film.parts[-2][:6] for film in films] == ["sum_0_", "sum_1_"]
    (run_file,) = run.glob("wandb/offline-run-*/*.wandb")
    rows = until_there(lambda: [row for row in history_of(run_file) if any(key.startswith("films") for key in row)])
    end = "/videos"  # each is logged as a mapping
    logged = {key.removesuffix(end): value for row in rows for key, value in row.items() if key.endswith(end)}
    assert sorted(logged) == [f"films/{film.parts[-2]}/{film.stem}" for film in films]
    for film in films:
        (kept,) = logged[f"films/{film.parts[-2]}/{film.stem}"]
        path = run_file.parent / "files" / kept["path"]
        assert path.read_bytes() == film.read_bytes()
        assert kept["sha256"] == hashlib.sha256(film.read_bytes()).hexdigest()
