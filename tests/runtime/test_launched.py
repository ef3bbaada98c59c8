"""What torchrun and srun say of a process."""

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
