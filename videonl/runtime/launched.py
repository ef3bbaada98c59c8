"""Where torchrun or SLURM's srun started this process among others: what their variables say."""

import os
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from videonl.errors import UserError

_OF_TORCHRUN = ("RANK", "WORLD_SIZE")
_MOST_PROCESSES = 10**5
_PORTS = range(15000, 25000)  # of which SLURM's number of a job gives one; systems give out others themselves


class Launched(NamedTuple):
    """The place of this process among those of its command.

    Attributes:
        rank: Its number.
        world_size: Number of processes.
        local_rank: Its number on its machine.
        host: The machine of process 0.
        port: Where that one listens.
    """

    rank: int
    world_size: int
    local_rank: int
    host: str
    port: int


def has_terminal() -> bool:
    """Whether this process, or whoever started it, was given a terminal; also where it reads and writes files."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def launched(
    variables: Mapping[str, str] = os.environ, in_terminal: Callable[[], bool] = has_terminal
) -> Launched | None:
    """The place of this process among others; None where it has none beside it.

    Of SLURM's only the variables of a step count, which ``srun`` sets: a batch script and the shell of ``salloc`` have
    others too, such as the number of tasks, and run once. In the shell of ``srun --pty`` there are those of a step, of
    which the first task alone has the terminal. What ``srun`` starts from that shell inherits ``SLURM_PTY_PORT``, but
    no terminal.

    Args:
        variables: Those of the environment.
        in_terminal: Tells whether there is a terminal.

    Raises:
        UserError: A variable is missing, or has a value that cannot be.
    """
    if any(name in variables for name in _OF_TORCHRUN):
        return _by_torchrun(variables)
    is_step = "SLURM_STEP_NUM_TASKS" in variables and "SLURM_PROCID" in variables
    if not is_step or ("SLURM_PTY_PORT" in variables and in_terminal()):
        return None
    return _by_slurm(variables)


def first_host(nodes: str) -> str:
    """The first machine of a list as SLURM writes it.

    >>> first_host("gpu[03-07,9]-ib,login"), first_host("a,b")
    ('gpu03-ib', 'a')
    """
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes).split(",")[0]


def _by_torchrun(variables: Mapping[str, str]) -> Launched | None:
    world_size = _number(variables, "WORLD_SIZE", 1, _MOST_PROCESSES)
    rank = _number(variables, "RANK", 0, world_size - 1)
    if world_size == 1:
        return None
    local_rank = _number(variables, "LOCAL_RANK", 0, rank) if "LOCAL_RANK" in variables else 0
    return Launched(rank, world_size, local_rank, _given(variables, "MASTER_ADDR"), _port(variables))


def _by_slurm(variables: Mapping[str, str]) -> Launched | None:
    world_size = _number(variables, "SLURM_STEP_NUM_TASKS", 1, _MOST_PROCESSES)
    rank = _number(variables, "SLURM_PROCID", 0, world_size - 1)
    if world_size == 1:
        return None
    local_rank = _number(variables, "SLURM_LOCALID", 0, rank)
    host = variables.get("MASTER_ADDR") or first_host(_given(variables, "SLURM_STEP_NODELIST"))
    if "MASTER_PORT" in variables:
        return Launched(rank, world_size, local_rank, host, _port(variables))
    step = sum(_number(variables, f"SLURM_{name}_ID", 0, 2**32) for name in ("JOB", "STEP"))
    return Launched(rank, world_size, local_rank, host, _PORTS[step % len(_PORTS)])


def _port(variables: Mapping[str, str]) -> int:
    return _number(variables, "MASTER_PORT", 1, 2**16 - 1)


def _number(variables: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = _given(variables, name)
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise UserError(f"the variable {name} must be a whole number from {least} to {most}, got {text!r}")
    return int(text)


def _given(variables: Mapping[str, str], name: str) -> str:
    if variables.get(name):
        return variables[name]
    given = " and ".join(each for each in (*_OF_TORCHRUN, "SLURM_STEP_NUM_TASKS") if each in variables)
    raise UserError(
        f"the variable {name} is missing, where {given} would have this be one of several processes. Start them with "
        f"torchrun or srun, or unset {given} to run one process"
    )
