"""``scripts/setup`` in a copy of its own: real Python, venv and pip, but a project that needs nothing from the network.

What the real project's set-up downloads, and whether these versions go together, only a fresh clone shows.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1"
dependencies = [{dependencies}]
[project.optional-dependencies]
dev = []
export = []
"""
# Makes an editable wheel by hand, as a real backend would have to be downloaded.
BACKEND = """
import zipfile

def build_editable(folder, settings=None, metadata=None):
    name = "tiny-1-py3-none-any.whl"
    about = "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nProvides-Extra: dev\\nProvides-Extra: export\\n"
    about += "".join(f"Requires-Dist: {name}\\n" for name in open("needs.txt").read().split())
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("tiny.pth", ".")
        wheel.writestr("tiny-1.dist-info/METADATA", about)
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project with the real script."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup", tmp_path / "scripts" / "setup")
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(dependencies=""))
    (tmp_path / "constraints.txt").write_text("")
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "needs.txt").write_text("")
    return tmp_path


def set_up(copy: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    # Not the packages of whoever runs the tests, and nothing from the network.
    variables = {"PYTHON": python, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    words = [str(copy / "scripts" / "setup")]
    return subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", ["scripts/setup", "scripts/test", "scripts/demo", ".ci/run"])
def test_scripts_are_bash_and_stop_at_the_first_failure(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    assert os.access(ROOT / script, os.X_OK)
    assert "\nset -euo pipefail\n" in (ROOT / script).read_text()


def words_to_pytest(copy: Path, *words: str) -> list[str]:
    """What ``scripts/test`` runs of the real tests, had everything else passed."""
    shutil.copy(ROOT / "scripts" / "test", copy / "scripts" / "test")
    for name in ("tests", "videonl"):
        (copy / name).symlink_to(ROOT / name)
    (copy / ".venv" / "bin").mkdir(parents=True)
    for path in ("scripts/setup", *(f".venv/bin/{name}" for name in ("ruff", "mypy", "mkdocs", "python"))):
        (copy / path).write_text("#!/bin/sh\n" + 'echo "$@"\n' * path.endswith("python"))
        (copy / path).chmod(0o755)
    told = subprocess.run([copy / "scripts/test", *words], capture_output=True, text=True, check=True).stdout
    return told.partition("loadfile")[2].split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["-m", "slow"], ["-m", "slow"]),
        (["videonl/blocks/nonlocal_block.py"], ["videonl/blocks/nonlocal_block.py", "tests/blocks"]),
        (["videonl/data/reading/"], ["videonl/data/reading/", "tests/data/reading"]),
        (["videonl/files.py"], ["videonl/files.py", "tests/test_files.py"]),
        (["videonl/errors.py"], ["videonl/errors.py"]),
        (["videonl/cli/bench_data.py"], ["videonl/cli/bench_data.py", "tests/cli/test_bench_data.py"]),
        (
            ["videonl/cli/run_words.py"],
            ["videonl/cli/run_words.py", "tests/cli/test_run.py", "tests/cli/test_first_run.py"],
        ),
    ],
)
def test_a_source_stands_for_its_tests(copy: Path, words: list[str], expected: list[str]) -> None:
    assert words_to_pytest(copy, *words) == expected


def test_a_command_stands_for_the_tests_that_run_it(copy: Path) -> None:
    assert "tests/cli/test_weights.py" in words_to_pytest(copy, "videonl/cli/convert.py")


def test_without_a_python_it_says_which_it_needs(copy: Path) -> None:
    refused = set_up(copy, "/bin/false")
    assert refused.returncode == 1
    assert "videonl needs Python 3.10 or newer" in refused.stderr
    assert not (copy / ".venv").exists()


def test_what_is_up_to_date_is_left_alone_until_a_version_changes(copy: Path) -> None:
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "python").symlink_to(sys.executable)
    told = subprocess.run("cat pyproject.toml constraints.txt | cksum", cwd=copy, shell=True, capture_output=True)
    (copy / ".venv" / "installed").write_bytes(told.stdout)
    done = set_up(copy, "/bin/false")  # it would be noticed if it were asked
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (copy / "constraints.txt").write_text("torch==2.6\n")
    assert set_up(copy, "/bin/false").returncode == 1


@pytest.mark.slow
def test_a_fresh_copy_is_set_up_once(copy: Path) -> None:
    done = set_up(copy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "setting up .venv: about 6 GB and a few minutes, once"
    assert done.stdout.splitlines()[-1] == "set up: .venv/bin/videonl"
    listed = subprocess.run(
        [copy / ".venv/bin/python", "-m", "pip", "list"], capture_output=True, text=True, check=True
    )
    assert "tiny" in listed.stdout
    assert set_up(copy, "/bin/false").stdout == ""


@pytest.mark.slow
def test_a_set_up_that_fails_says_why_and_is_tried_again(copy: Path) -> None:
    (copy / "pyproject.toml").write_text(PROJECT.format(dependencies='"no-such-thing"'))
    (copy / "needs.txt").write_text("no-such-thing")
    failed = set_up(copy)
    assert failed.returncode == 1
    assert "No matching distribution found for no-such-thing" in failed.stderr
    assert "the set-up failed; all that pip said is in .venv/setup.log" in failed.stderr
    assert "no-such-thing" in (copy / ".venv" / "setup.log").read_text()
    assert not (copy / ".venv" / "installed").exists()
    (copy / "pyproject.toml").write_text(PROJECT.format(dependencies=""))
    (copy / "needs.txt").write_text("")
    again = set_up(copy)
    assert again.returncode == 0, again.stderr
