"""No process of ours runs Python files that lie in the working folder, on any version of Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Modules of the standard library that everything here needs, and whose names people give to their own files.
SHADOWED = (
    *("random", "queue", "http", "socket", "selectors", "subprocess", "signal", "threading", "tempfile", "shutil"),
    *("json", "csv", "logging", "copy", "pickle", "struct", "hashlib", "email", "urllib", "decimal"),
)
PYTHONS = [f"python3.{minor}" for minor in (10, 11, 12, 13)]
SCRIPT = """
import sys
from multiprocessing import get_context
from videonl.runtime.safe_path import start_safely

if __name__ == "__main__":
    if sys.argv[1] == "safely":
        start_safely()
    for method in ("spawn", "forkserver"):
        process = get_context(method).Process(target=print, args=(method,), daemon=True)
        process.start()
        process.join()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder whose Python files note in the file RAN that they were run, and are of no other use."""
    for name in SHADOWED:
        note = f"open({str(tmp_path / 'RAN')!r}, 'a').write('{name} ')\nraise SystemExit('{name}')\n"
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / f"{name}.py").write_text(note)
    return tmp_path / "folder"


def ran(folder: Path) -> str:
    note = folder.with_name("RAN")
    return note.read_text() if note.exists() else ""


def interpreter(name: str) -> str:
    """The path of a Python of that version, of pyenv's too; skips where there is none."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}.*/bin/python"))
    for path in filter(None, [shutil.which(name), *map(str, kept)]):
        if subprocess.run([path, "-c", "0"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"{name} is absent")


@pytest.mark.parametrize("name", PYTHONS)
def test_multiprocessing_starts_without_the_folder(name: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    for how in ("safely", "as always"):
        command = [interpreter(name), str(tmp_path / "script.py"), how]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if how == "safely":
            assert (ended.stdout.split(), ended.stderr, ran(folder)) == (["spawn", "forkserver"], "", "")
    assert ran(folder)  # the attack itself is sound


@pytest.mark.parametrize("first", [["-m", "videonl"], [str(ROOT / "videonl" / "__main__.py")]], ids=["-m", "file"])
def test_the_command_itself_leaves_the_folder(first: list[str], folder: Path) -> None:
    command = [sys.executable, *first, "report", "no.parquet"]  # it imports much, and then finds nothing
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ran(folder)) == (2, ""), ended.stderr
