"""How long the threads of OpenMP, which PyTorch computes with on CPUs, spin before they sleep."""

import os
from collections.abc import MutableMapping

# Of GNU's OpenMP, which PyTorch's wheels bring, and of Intel's and LLVM's, which others bring; the first is for all.
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
SPINS = "3000"  # turns of a loop, tens of microseconds; GNU's default is 300,000, which is milliseconds
BLOCKTIME = "1"  # milliseconds; Intel's default is 200
BUSY_LOAD = 0.5  # processes that want to run, the mean of a minute, before the command is one of them


def wait_briefly_if_busy(environment: MutableMapping[str, str] | None = None) -> None:
    """Has threads of OpenMP leave their core soon while they wait, where others want it: here and in processes started.

    After every operation threads wait for the slowest. Those that spin take the core that the slowest needs, if another
    process has the other. On an idle machine a short spin is no gain, and costs 4 % of a step, so there nothing is set.
    ``scripts/bench_waiting.py`` has the figures. No number computed changes.

    It takes effect if no library that uses OpenMP is loaded yet. What the user has set is left as it is.

    Args:
        environment: Of this process when not given.
    """
    environment = os.environ if environment is None else environment
    # Windows knows no load, and its PyTorch has another OpenMP.
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] >= BUSY_LOAD
    if busy and not any(name in environment for name in VARIABLES):
        environment["GOMP_SPINCOUNT"], environment["KMP_BLOCKTIME"] = SPINS, BLOCKTIME
