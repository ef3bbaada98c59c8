"""Threads of OpenMP wait briefly where the machine is busy, unless the user has set how they wait."""

import os
import subprocess
import sys

import pytest

from videonl.runtime.waiting import VARIABLES, wait_briefly_if_busy

BRIEF = {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"}


@pytest.mark.parametrize(("load", "set_here"), [(0.0, {}), (0.49, {}), (0.5, BRIEF), (71.3, BRIEF)])
def test_both_libraries_are_told_where_others_want_the_cores(load: float, set_here, monkeypatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    environment = {"OMP_NUM_THREADS": "7"}  # says nothing of waiting
    wait_briefly_if_busy(environment)
    assert environment == {"OMP_NUM_THREADS": "7", **set_here}


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_user_has_set_is_left(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (7.0, 7.0, 7.0))
    environment = {name: "11"}
    wait_briefly_if_busy(environment)
    assert environment == {name: "11"}


def test_the_command_says_it_before_any_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    program = (
        "import atexit, os, sys; sys.argv = ['videonl', '--version']; os.getloadavg = lambda: (7.0, 7.0, 7.0); "
        "from videonl.cli.main import entry_point; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules; "
        "assert 'GOMP_SPINCOUNT' not in os.environ; "  # importing sets nothing
        "atexit.register(lambda: print(os.environ['GOMP_SPINCOUNT'])); entry_point()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "3000"
