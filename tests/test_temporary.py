"""Temporary folders go with their process, or with the next."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from videonl.temporary import temporary_folder

HOLDING = """
import os, sys
from videonl.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "inner").mkdir()
    (folder / "inner" / "copy.mp4").write_bytes(b"frames")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_folder_is_empty_and_goes(tmp_path: Path) -> None:
    with temporary_folder() as first, temporary_folder() as second:
        assert {*tmp_path.iterdir()} == {first, second}
        assert not [*first.iterdir(), *second.iterdir()]
        (first / "a").mkdir()
    with pytest.raises(ValueError, match="it failed"), temporary_folder():
        raise ValueError("it failed")
    assert not [*tmp_path.iterdir()]


def test_what_a_killed_process_left_goes_with_the_next_and_that_of_others_stays(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert holder.stdout is not None
    held = Path(holder.stdout.readline().strip())
    (tmp_path / "precious").mkdir()
    (tmp_path / "videonl_temporary_link").symlink_to(tmp_path / "precious")
    with temporary_folder() as folder:
        assert (held / "inner" / "copy.mp4").is_file()  # it is in use
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert held.is_dir()
    with temporary_folder() as folder:
        assert {*tmp_path.iterdir()} == {folder, tmp_path / "precious", tmp_path / "videonl_temporary_link"}
