"""Files appear whole or not at all, are written by one process at a time, and leave nothing behind."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from videonl.errors import UserError
from videonl.files import locked, unfinished_of, whole_folder, whole_path, write_text

HOLDING = """
import sys, time
from pathlib import Path
from videonl.files import locked, whole_file
path = Path(sys.argv[2])
with locked(path, "it is filled") if sys.argv[1] == "locked" else whole_file(path) as file:
    print("held", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def holding(what: str, path: Path) -> subprocess.Popen[str]:
    """Another process that writes a file, or holds a lock, until it is killed."""
    words = [sys.executable, "-W", "ignore", "-c", HOLDING, what, str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_an_error_keeps_the_file_before_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for before in ([], ["a.txt"]):
        with pytest.raises(KeyboardInterrupt), whole_path(path) as unfinished:
            _write_half(unfinished)
        assert names(path.parent) == before
        write_text(path, "before")
    assert path.read_text() == "before"


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def test_what_has_its_name_is_on_the_disk_by_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int | None, list[str]]] = []

    def flush(descriptor: int) -> None:
        found = os.fstat(descriptor)
        flushed.append((None if stat.S_ISDIR(found.st_mode) else found.st_size, names(tmp_path)))

    monkeypatch.setattr(os, "fsync", flush)
    write_text(tmp_path / "a.txt", "seven 7")
    assert flushed == [(7, ["a.txt.unfinished"]), (None, ["a.txt"])]
    flushed.clear()
    with whole_folder(tmp_path / "b") as unfinished:
        (unfinished / "c.txt").write_text("three")
    assert flushed == [(5, [".b.lock", "a.txt", "b.unfinished"]), (None, [".b.lock", "a.txt", "b"])]


def test_a_link_is_followed_and_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "real" / "a.txt")
    write_text(tmp_path / "link.txt", "through")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "through"
    write_text(Path("/dev/null"), "gone")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("name", ["folder", "file/below.txt", "x" * 300])
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "file", "")
    with pytest.raises(
        UserError, match=r"cannot be written \((Is a directory|File exists|Not a directory|File name too long)"
    ):
        write_text(tmp_path / name, "")
    assert names(tmp_path) == ["file", "folder"]


def test_a_name_that_is_nearly_too_long(tmp_path: Path) -> None:
    path = tmp_path / ("\N{GREEK SMALL LETTER ALPHA}" * 127)
    write_text(path, "a")
    assert names(tmp_path) == [path.name]


def test_a_full_disk_keeps_the_file_before(
    files_at_most: Callable[[int], AbstractContextManager[None]], tmp_path: Path
) -> None:
    write_text(tmp_path / "a.txt", "before")
    with files_at_most(1009), pytest.raises(UserError, match=r"\(File too large\); what it held before is unharmed"):
        write_text(tmp_path / "a.txt", "x" * 2003)
    assert (tmp_path / "a.txt").read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    writer = holding("whole", path)
    with pytest.raises(UserError, match=r"a\.txt is being written by another process"):
        write_text(path, "mixed")
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert names(tmp_path) == [unfinished_of(path).name]
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["a.txt"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "new" / ".lock"
    holder = holding("locked", lock)
    with pytest.raises(UserError, match="it is filled already, in another process"), locked(lock, "it is filled"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with locked(lock, "it is filled"):
        assert lock.exists()
        with pytest.raises(UserError, match="already"), locked(lock, "it is filled"):
            pass
    assert names(lock.parent) == []


def test_an_error_under_a_lock_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="other"), locked(tmp_path / ".lock", "it is filled"):
        raise OSError("other")
    assert names(tmp_path) == []


def test_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "label " + os.fsdecode(b"r\xfcn"))
    assert (tmp_path / "a.txt").read_text() == r"label r\udcfcn"
