"""Threads of OpenMP wait briefly in every command, unless the user has set how they wait."""

import subprocess
import sys

import pytest

from videonl.runtime.waiting import VARIABLES, wait_briefly


def test_both_libraries_are_told() -> None:
    environment = {"OMP_NUM_THREADS": "7"}  # says nothing of waiting
    wait_briefly(environment)
    assert environment == {"OMP_NUM_THREADS": "7", "GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"}


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_user_has_set_is_left(name: str) -> None:
    environment = {name: "11"}
    wait_briefly(environment)
    assert environment == {name: "11"}


def test_the_command_says_it_before_any_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    program = (
        "import atexit, os, sys; sys.argv = ['videonl', '--version']; from videonl.cli.main import entry_point; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules; "
        "atexit.register(lambda: print(os.environ['GOMP_SPINCOUNT'])); entry_point()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "3000"


def test_importing_the_package_changes_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    program = (
        "import os; before = dict(os.environ); import videonl, videonl.cli.main; assert before == dict(os.environ)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
