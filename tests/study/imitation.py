"""Stands in for ``videonl fit`` and ``videonl test`` of a cell: does at once what the cell's configuration says."""

import os
import signal
import sys
import time
from pathlib import Path

import yaml


def imitate(stage: str, cell: Path, others: list[str]) -> None:
    does = yaml.safe_load((cell / "fit.yaml").read_text())["does"]
    with (cell.parents[1] / "calls.txt").open("a") as calls:
        calls.write(f"{stage} {cell.name} {' '.join(others)}\n")
    (cell / f"{stage}.environment").write_text("\n".join(f"{name}={value}" for name, value in os.environ.items()))

    def end(number: int, frame: object) -> None:
        (cell / "told").write_text(str(number))
        sys.exit(128 + number)

    if does == f"sleep in {stage}":
        signal.signal(signal.SIGTERM, end)
        (cell / "asleep").touch()
        time.sleep(60)
    if does == f"fail in {stage}":
        print("what came before", *range(30), "the last words", sep="\n")
        sys.exit(3)
    if stage == "fit":
        (cell / "checkpoints").mkdir(exist_ok=True)
        (cell / "checkpoints" / "last.ckpt").touch()
    elif does != "leave no record":
        (cell / "test.parquet").touch()


if __name__ == "__main__":
    imitate(sys.argv[1], Path(sys.argv[3]).parent, sys.argv[4:])
