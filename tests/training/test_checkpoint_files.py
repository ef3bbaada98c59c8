"""Checkpoints on disks that fill up, and in processes that are killed, with real files."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.errors import UserError
from videonl.files import remove_unfinished, whole_file
from videonl.training.checkpoint_files import WholeCheckpoints

OLD = {"weight": torch.arange(7.0)}
NEW = {"weight": torch.arange(300_007.0)}


@pytest.fixture
def full_disk() -> Iterator[Path]:
    """A file system of one mebibyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"mounting is not allowed: {mounted.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def assert_old_is_kept(path: Path) -> None:
    assert torch.equal(torch.load(path)["weight"], OLD["weight"])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_checkpoint_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    for checkpoint in (OLD, NEW):
        WholeCheckpoints().save_checkpoint(checkpoint, path)
        assert torch.equal(torch.load(path)["weight"], checkpoint["weight"])
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoint = {"state_dict": OLD, "pytorch-lightning_version": "2.6"}
    WholeCheckpoints().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    assert torch.equal(
        WholeCheckpoints().load_checkpoint(tmp_path / "last.ckpt")["state_dict"]["weight"], OLD["weight"]
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint(NEW, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=f"checkpoint {path} cannot be read and may be damaged"):
        WholeCheckpoints().load_checkpoint(path)


def test_weights_alone_are_no_checkpoint(tmp_path: Path) -> None:
    WholeCheckpoints().save_checkpoint(OLD, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"not a checkpoint of a training; use --model\.weights for initial weights"):
        WholeCheckpoints().load_checkpoint(tmp_path / "weights.pth")


def test_a_full_disk_keeps_the_checkpoint_before(full_disk: Path) -> None:
    path = full_disk / "last.ckpt"
    WholeCheckpoints().save_checkpoint(OLD, path)
    with pytest.raises(UserError, match=rf"{path} cannot be written \(No space left on device\)"):
        WholeCheckpoints().save_checkpoint(NEW, path)
    assert_old_is_kept(path)


def test_a_file_that_may_not_grow_keeps_the_checkpoint_before(
    files_at_most: Callable[[int], Any], tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint(OLD, path)
    with files_at_most(100_003), pytest.raises(UserError, match=r"last.ckpt cannot be written \(File too large\)"):
        WholeCheckpoints().save_checkpoint(NEW, path)
    assert_old_is_kept(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file is in the way")
    with pytest.raises(UserError, match="checkpoints could not be made"):
        WholeCheckpoints().save_checkpoint(OLD, tmp_path / "checkpoints" / "last.ckpt")


def test_a_kill_while_writing_keeps_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"the one before")
    program = f"""
import sys, time
from pathlib import Path
from videonl.files import whole_file
with whole_file(Path({str(path)!r})) as file:
    file.write(bytes(1_000_003))
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.read_bytes() == b"the one before"
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "last.ckpt.unfinished"}
    remove_unfinished(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt"}


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    seen = set()
    for number in range(7):
        with whole_file(path) as file:
            for _ in range(3):
                file.write(bytes([number]) * 1009)
                file.flush()
                seen.add(path.read_bytes() if path.exists() else b"")
    assert seen == {b"", *(bytes([number]) * 3027 for number in range(6))}
