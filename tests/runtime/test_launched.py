"""What torchrun and srun say of a process."""

import contextlib
import os
import pty
import subprocess
import sys

import pytest

from videonl.errors import UserError
from videonl.runtime.launched import Launched, launched

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "5", "LOCAL_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[03,07-11],other",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_ID": "2",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        (TORCHRUN, Launched(3, 5, 1, "node0", 29500)),
        ({**SRUN, **TORCHRUN, "RANK": "4"}, Launched(4, 5, 1, "node0", 29500)),  # torchrun within a job
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        (SRUN, Launched(3, 5, 1, "gpu03", 15000 + 4569)),
        ({**SRUN, "MASTER_ADDR": "a", "MASTER_PORT": "7"}, Launched(3, 5, 1, "a", 7)),
        ({**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),
        ({"SLURM_NTASKS": "5", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}, None),  # a batch script runs once
    ],
)
def test_the_place_among_others(variables: dict[str, str], expected: Launched | None) -> None:
    assert launched(variables) == expected


PTY = {"SLURM_PTY_PORT": "34889", "SLURM_PTY_WIN_COL": "236", "SLURM_PTY_WIN_ROW": "64"}


@pytest.mark.parametrize(
    ("variables", "in_terminal", "expected"),
    [
        ({**SRUN, **PTY, "SLURM_PROCID": "0"}, True, None),  # the shell of srun --pty --ntasks=5
        ({**SRUN, **PTY, **TORCHRUN}, True, Launched(3, 5, 1, "node0", 29500)),  # torchrun in it
        ({**SRUN, **PTY}, False, Launched(3, 5, 1, "gpu03", 15000 + 4569)),  # srun in it
        (SRUN, True, Launched(3, 5, 1, "gpu03", 15000 + 4569)),
        # The shell of salloc, alone and as a step of its own (LaunchParameters=use_interactive_step).
        ({"SLURM_NTASKS": "5", "SLURM_JOB_NAME": "interactive", "SLURM_JOB_ID": "1"}, True, None),
        (
            {**SRUN, **PTY, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_STEP_ID": "4294967290"},
            False,
            None,
        ),
    ],
)
def test_shells_are_alone(variables: dict[str, str], in_terminal: bool, expected: Launched | None) -> None:
    assert launched(variables, lambda: in_terminal) == expected


def test_a_terminal_is_that_of_the_session() -> None:
    """A process with a new terminal has it, one of a new session has none."""
    code = "from videonl.runtime.launched import has_terminal; print(has_terminal())"
    own = subprocess.run([sys.executable, "-c", code], start_new_session=True, capture_output=True, check=True)
    assert own.stdout == b"False\n"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while data := os.read(terminal, 1000):
            shown += data
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0 and shown == b"True\r\n"


@pytest.mark.parametrize(
    ("base", "changed", "message"),
    [
        (
            TORCHRUN,
            {"WORLD_SIZE": None},
            "WORLD_SIZE is missing, where RANK would have .* unset RANK to run one process",
        ),
        (TORCHRUN, {"RANK": None}, "RANK is missing, where WORLD_SIZE"),
        (TORCHRUN, {"MASTER_ADDR": None}, "MASTER_ADDR is missing, where RANK and WORLD_SIZE"),
        (TORCHRUN, {"MASTER_PORT": ""}, "MASTER_PORT is missing"),
        (TORCHRUN, {"MASTER_PORT": "70000"}, "MASTER_PORT must be a whole number from 1 to 65535, got '70000'"),
        (TORCHRUN, {"RANK": "5"}, "RANK must be a whole number from 0 to 4, got '5'"),
        (TORCHRUN, {"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number from 1 to 100000, got 'two'"),
        (SRUN, {"SLURM_STEP_NODELIST": None}, "SLURM_STEP_NODELIST is missing, where SLURM_STEP_NUM_TASKS"),
    ],
)
def test_what_cannot_be_is_named(base: dict[str, str], changed: dict[str, str | None], message: str) -> None:
    given = {name: value for name, value in {**base, **changed}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        launched(given)
