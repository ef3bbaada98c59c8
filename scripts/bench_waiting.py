#!/usr/bin/env python
"""Times a training step on an idle machine, beside a process that keeps a core busy, and beside a second training.

``python scripts/bench_waiting.py`` compares how long threads of OpenMP spin while they wait: PyTorch's default, what
the ``videonl`` command sets on a busy machine (``videonl/runtime/waiting.py``), sleeping at once, and one thread, which
waits for nobody. Each is a pair of warm processes; all take turns.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from videonl.runtime.waiting import BLOCKTIME, SPINS, VARIABLES

# Times as many steps as each line of its input says; a step is small, so that its threads wait often.
WORKER = """
import json, sys, time, torch
from torch import nn
torch.manual_seed(0)
layers = [layer for _ in range(6) for layer in (nn.Conv3d(16, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU())]
network, clip = nn.Sequential(*layers), torch.randn(2, 16, 8, 28, 28)
def step():
    network.zero_grad()
    network(clip).sum().backward()
for _ in range(5):
    step()
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    for _ in range(int(line)):
        step()
    print(json.dumps(1e3 * (time.perf_counter() - began) / int(line)), flush=True)
"""
STEPS = 20  # timed together


class Training:
    """A process that trains when asked."""

    def __init__(self, environment: dict[str, str], threads: int) -> None:
        clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean | environment | {"OMP_NUM_THREADS": str(threads)},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready"

    def start(self) -> None:
        """Begins to train."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{STEPS}\n")
        self._process.stdin.flush()

    def milliseconds(self) -> float:
        """What a step took, once all are done."""
        assert self._process.stdout is not None
        took: float = json.loads(self._process.stdout.readline())
        return took

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process that computes all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


def main() -> None:
    """Prints a table: sides by states, medians and their range over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    ours = {"GOMP_SPINCOUNT": SPINS, "KMP_BLOCKTIME": BLOCKTIME}
    sides = {
        "PyTorch's default": ({}, cores),
        f"videonl ({ours})": (ours, cores),
        "OMP_WAIT_POLICY=PASSIVE": ({"OMP_WAIT_POLICY": "PASSIVE"}, cores),
        "OMP_NUM_THREADS=1": ({}, 1),
    }
    trainings = {name: (Training(*side), Training(*side)) for name, side in sides.items()}
    times: dict[tuple[str, str], list[float]] = {}
    print(f"{cores} cores; load {os.getloadavg()[0]:.1f}")
    for _ in range(given.rounds):
        for name, (first, second) in trainings.items():
            first.start()
            times.setdefault((name, "idle"), []).append(first.milliseconds())
            first.start(), second.start()
            times.setdefault((name, "two trainings"), []).extend([first.milliseconds(), second.milliseconds()])
            with busy_core():
                first.start()
                times.setdefault((name, "a busy core"), []).append(first.milliseconds())
    for (name, state), found in sorted(times.items(), key=lambda item: item[0][1]):
        base = statistics.median(times["PyTorch's default", "idle"])
        middle = statistics.median(found)
        print(f"{middle / base:.2f}x {state}: {name}: {middle:.1f} ms a step, {min(found):.1f} to {max(found):.1f}")
    for pair in trainings.values():
        for training in pair:
            training.end()


if __name__ == "__main__":
    main()
