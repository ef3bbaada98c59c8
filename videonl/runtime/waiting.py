"""How long the threads of OpenMP, which PyTorch computes with on CPUs, spin before they sleep."""

import os
from collections.abc import MutableMapping

# Of GNU's OpenMP, which PyTorch's wheels bring, and of Intel's and LLVM's, which others bring; the first is for all.
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
# Turns of a loop, tens of microseconds. GNU's default is 300,000, which is milliseconds.
SPINS = "3000"
# Milliseconds; the default is 200.
BLOCKTIME = "1"


def wait_briefly(environment: MutableMapping[str, str] | None = None) -> None:
    """Has threads of OpenMP that wait for others leave their core soon, in this process and those it starts.

    Threads wait after every operation for the slowest. Those that spin take the core that the slowest needs, if another
    process has the other. Those that sleep at once are slow to wake, on an idle machine too. A short spin bridges the
    gap between two operations; ``scripts/bench_waiting.py`` has the figures. No number computed changes.

    It takes effect if no library that uses OpenMP is loaded yet. What the user has set is left as it is.

    Args:
        environment: Of this process when not given.
    """
    environment = os.environ if environment is None else environment
    if not any(name in environment for name in VARIABLES):
        environment["GOMP_SPINCOUNT"], environment["KMP_BLOCKTIME"] = SPINS, BLOCKTIME
