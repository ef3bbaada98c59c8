"""Runs the cells of a study, some at once, each as an ordinary ``videonl fit`` and ``videonl test``."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from videonl.errors import UserError
from videonl.files import locked
from videonl.runtime.watch import STARTER
from videonl.study.folder import CellFolder, StudyFolder
from videonl.study.plan import Cell
from videonl.terminal import printable

PROGRAM = Path(__file__).parents[1] / "__main__.py"
GRACE_SECONDS = 60  # a training ends after its step
_POLL_SECONDS = 0.2
_TAIL_LINES = 15
# Of a single run: shared by all cells, they would make one run of them.
_OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_NAME", "WANDB_RESUME", "WANDB_SWEEP_ID", "LOCAL_RANK")
Say = Callable[[str], None]


@dataclass
class Ended:
    """What became of the cells that this process was to run.

    Attributes:
        finished: Those with a result, of before or now.
        failed: Those without, and why.
        elsewhere: Those that another process was running.
    """

    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


Stage = Literal["fit", "test"]


@dataclass
class _Running:
    """A cell at work: its lock, and the process of its training or test."""

    cell: Cell
    folder: CellFolder
    held: ExitStack
    slot: int
    stage: Stage
    process: "subprocess.Popen[bytes]"
    begun: float = field(default_factory=time.monotonic)

    @property
    def log(self) -> Path:
        return log_of(self.folder, self.stage)


class Runner:
    """Runs cells.

    Args:
        folder: The study's.
        group: Of the runs on W&B.
        jobs: How many cells run at once.
        say: Is told what happens.
    """

    def __init__(self, folder: StudyFolder, group: str, jobs: int, say: Say) -> None:
        self.folder, self.group, self.jobs, self.say = folder, group, jobs, say
        self.ended = Ended()
        self._running: list[_Running] = []
        self._num_cells = 0

    def run(self, cells: Iterable[Cell]) -> Ended:
        """Runs every cell that is not finished and that no other process runs.

        Whatever ends this process early, its trainings are told to end too, and are waited for.
        """
        waiting = deque(cells)
        self._num_cells = len(waiting)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.jobs:
                    self._begin(waiting.popleft())
                for running in list(self._running):
                    if (code := running.process.poll()) is not None:
                        self._advance(running, code)
                if self._running:
                    time.sleep(_POLL_SECONDS)
        except BaseException:
            self._end_all()
            raise
        return self.ended

    def _begin(self, cell: Cell) -> None:
        folder = self.folder.of(cell)
        with ExitStack() as held:
            if not folder.is_finished and not _hold(held, folder, cell):
                self.ended.elsewhere.append(cell.name)
                self.say(f"{cell.name}: another process runs it")
                return
            if folder.is_finished:  # perhaps since, by another process
                self._finish(cell, "is finished already")
                return
            folder.write_configurations(cell)
            stage: Stage = "test" if folder.is_trained else "fit"
            taken = {running.slot for running in self._running}
            slot = next(slot for slot in range(self.jobs) if slot not in taken)
            process = self._start(cell, folder, stage, slot)
            self._running.append(_Running(cell, folder, held.pop_all(), slot, stage, process))

    def _start(self, cell: Cell, folder: CellFolder, stage: Stage, slot: int) -> "subprocess.Popen[bytes]":
        resumes = (folder.path / "checkpoints" / "last.ckpt").is_file()
        doing = "tested" if stage == "test" else "resumed" if resumes else "trained"
        log = log_of(folder, stage)
        self.say(f"{cell.name}: is {doing}; its log is {log}")
        folder.note("fitting" if stage == "fit" else "testing")
        words = [stage, "--config", str(folder.path / f"{stage}.yaml")]
        words += ["--ckpt_path", "last"] if stage == "fit" else ["--trust-code"]  # its training ran that code
        with log.open("ab") as file:
            file.write(f"$ videonl {shlex.join(words)}\n".encode(errors="backslashreplace"))
            file.flush()
            return subprocess.Popen(
                # Not by -m, for which Python would look for modules in the working folder first.
                [sys.executable, str(PROGRAM), *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._environment(cell, slot),
                start_new_session=True,  # Ctrl-C is for this process, which ends its trainings one way, once
            )

    def _environment(self, cell: Cell, slot: int) -> dict[str, str]:
        own = environment(os.environ, self.group, self.jobs)
        is_on_one = cell.fit.get("trainer", {}).get("devices") in (1, "1")
        if self.jobs > 1 and is_on_one and len(gpus := visible_gpus(os.environ)) > 1:
            own["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        return own

    def _advance(self, running: _Running, code: int) -> None:
        """A process has ended: its cell goes on to its test, or is over."""
        if code:
            self._fail(running, code)
        elif running.stage == "fit":
            running.folder.note_trained()
            running.stage = "test"
            running.process = self._start(running.cell, running.folder, "test", running.slot)
        elif not running.folder.record.is_file():
            self._fail(running, code)
        else:
            running.folder.note("finished")
            self._close(running)
            self._finish(running.cell, f"is finished, in {_minutes(time.monotonic() - running.begun)}")

    def _finish(self, cell: Cell, how: str) -> None:
        self.ended.finished.append(cell.name)
        self.say(f"{cell.name}: {how} ({self._count()})")

    def _fail(self, running: _Running, code: int) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        reason = f"videonl {running.stage} {how}; {running.log} ends with\n{tail(running.log)}"
        running.folder.note("failed", reason)
        self._close(running)
        self.ended.failed[running.cell.name] = reason
        self.say(f"{running.cell.name}: failed ({self._count()}): {reason}")

    def _count(self) -> str:
        done = len(self.ended.finished) + len(self.ended.failed) + len(self.ended.elsewhere)
        return f"{done} of {self._num_cells}"

    def _close(self, running: _Running) -> None:
        running.held.close()
        self._running.remove(running)

    def _end_all(self) -> None:
        """Tells all trainings to end, waits for them, and kills those that do not."""
        processes = [running.process for running in self._running]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            for process in processes:
                process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:  # the time is over, or whoever waits has had enough
            for process in processes:
                _kill(process)
        for running in list(self._running):
            with contextlib.suppress(UserError):  # a full disk may be why all ends
                running.folder.note("interrupted")
            self._close(running)


def log_of(folder: CellFolder, stage: Stage) -> Path:
    """What a cell's training or test prints, of all attempts."""
    return folder.path / f"{stage}.log"


def _hold(held: ExitStack, folder: CellFolder, cell: Cell) -> bool:
    """Takes the lock of a cell, if no other process has it.

    Raises:
        UserError: The folder cannot be written.
    """
    try:
        held.enter_context(locked(folder.lock, f"cell {cell.name} runs"))
    except UserError as error:
        if isinstance(error.__cause__, BlockingIOError):
            return False
        raise
    return True


def environment(known: Mapping[str, str], group: str, jobs: int) -> dict[str, str]:
    """The environment of a cell's processes: its runs' group on W&B, its share of the cores.

    Args:
        known: That of this process; what it says of threads and groups stands.
        group: Of the runs on W&B.
        jobs: How many cells are at work at once.
    """
    own = {name: value for name, value in known.items() if name not in _OF_ONE_RUN}
    own |= {"WANDB_RUN_GROUP": known.get("WANDB_RUN_GROUP") or group, "PYTHONUNBUFFERED": "1"}
    own[STARTER] = str(os.getpid())
    if jobs > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        own.setdefault("OMP_NUM_THREADS", str(max(1, cores // jobs)))
    return own


def visible_gpus(known: Mapping[str, str]) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in known:
        return [name for name in known["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
    import torch  # late: a study on CPUs asks nothing of it

    return [str(index) for index in range(torch.cuda.device_count())]


def tail(log: Path, num_lines: int = _TAIL_LINES) -> str:
    """The last lines of a log, as text."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2**16))
        lines = file.read().decode(errors="backslashreplace").splitlines()
    return "\n".join(f"  {printable(line.rpartition(chr(13))[2])}" for line in lines[-num_lines:])


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"
