"""A study of real trainings, in real processes: interrupted, resumed, tested, reported, and one group on W&B."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from videonl.cli.main import main
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic

SMALL = """
trainer: {max_epochs: 8, accelerator: cpu, log_every_n_steps: 1, enable_progress_bar: false, num_sanity_val_steps: 0}
model: {network: {init_args: {width: 3}}}
data:
  clip: {num_frames: 5, short_side_px: 37, crop_px: 31}
  augmentation: {short_side_px: [37, 41]}
  loading: {batch_size: 5, num_workers: 0}
run: {wandb: offline}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The shipped example on 13 tiny clips, one seed."""
    write_synthetic(
        tmp_path / "data", SyntheticSettings(num_train=13, num_val=7, num_test=11, size_px=38, num_frames=7)
    )
    (tmp_path / "small.yaml").write_text(SMALL)
    path = tmp_path / "tiny.yaml"
    base = ["experiment/demo/baseline.yaml", "small.yaml", {"data.root": str(tmp_path / "data")}]
    variants = {"broken": {"data.train": "nothing.csv"}}  # that its data is missing, its training finds out
    content = {"extends": "study/synthetic.yaml", "base": base, "seeds": [3], "variants": variants}
    path.write_text(yaml.safe_dump(content))
    return path


def processes_of(folder: Path) -> list[str]:
    """The trainings and tests at work for a study."""
    lines = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if f"{folder}/cells/" in line and not line.startswith("Z")]


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_of_group(run: Path, group: str) -> bool:
    """Whether every offline run of W&B in a run's folder has the group, as its file spells it."""
    from wandb.proto.wandb_internal_pb2 import RunRecord

    tag = RunRecord.DESCRIPTOR.fields_by_name["run_group"].number << 3 | 2  # a text
    spelled = bytes([tag, len(group)]) + group.encode()
    files = list(run.glob("wandb/offline-run-*/*.wandb"))
    return bool(files) and all(spelled in path.read_bytes() for path in files)


@pytest.mark.slow  # five real trainings and tests
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed study leaves its trainings")
def test_a_study_ends_as_one_that_was_not_interrupted(study: Path, tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "videonl", "study", str(study), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    last = out / "cells" / "none-seed3" / "checkpoints" / "last.ckpt"
    for number in (signal.SIGKILL, signal.SIGTERM):  # the first leaves no time to end the training
        written = last.stat().st_mtime if last.exists() else 0
        started = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert started.stderr is not None
        until(lambda before=written: last.exists() and last.stat().st_mtime > before)  # an epoch is done
        started.send_signal(number)
        started.wait(90)
        until(lambda: not processes_of(out))
        assert started.returncode == (143 if number == signal.SIGTERM else -number), started.stderr.read()
        started.stderr.close()
    assert not (out / "cells" / "none-seed3" / "test.parquet").exists()
    ended = subprocess.run([*words, "--jobs", "2"], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "1 of 3 cells failed: broken-seed3" in ended.stderr
    assert "nothing.csv" in ended.stdout  # the end of its log
    assert "none-seed3: is resumed" in ended.stdout
    assert (out / "cells" / "none-seed3" / "fit.log").read_text().count("$ videonl fit") == 3
    finished = {name: out / "cells" / f"{name}-seed3" for name in ("none", "nonlocal")}
    times = {name: (run / "test.parquet").stat().st_mtime for name, run in finished.items()}
    assert all(is_of_group(run, "tiny") for run in finished.values())
    assert main(["study", str(out), "--report"]) == 0
    assert "2 of 3 cells finished" in capfd.readouterr().out
    none, nonlocal_, broken = pq.read_table(out / "report.parquet").to_pylist()
    assert (none["num_seeds"], nonlocal_["num_seeds"], broken["num_seeds"]) == (1, 1, 0)
    assert nonlocal_["difference_num_seeds"] == 1
    assert nonlocal_["parameters"] > none["parameters"] > 10_000
    assert all(row[name] > 0 for row in (none, nonlocal_) for name in ("macs", "step_seconds", "peak_memory_bytes"))
    with (finished["none"] / "logs" / "fit" / "version_0" / "metrics.csv").open(newline="") as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file) if row["val/top1"]]
    assert epochs == list(range(8))  # each once, in spite of the interruptions
    again = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert again.stdout.count("is finished already") == 2
    assert {name: (run / "test.parquet").stat().st_mtime for name, run in finished.items()} == times
