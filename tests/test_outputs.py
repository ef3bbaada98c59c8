"""What is refused before any work: outputs that are inputs, folders, full disks, read-only places."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from videonl.errors import UserError
from videonl.outputs import check_file, check_folder, refuse_inputs


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one mebibyte, of which 12 KiB are left."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed")
        try:
            (Path(folder) / "full").write_bytes(bytes((1024 - 12) * 1024))
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("way", ["same", "dotted", "link", "hard link", "folder link"])
def test_an_output_that_is_an_input_is_refused_by_whatever_way(tmp_path: Path, way: str) -> None:
    given = tmp_path / "in" / "net.ckpt"
    given.parent.mkdir()
    given.write_bytes(b"weights")
    output = {
        "same": given,
        "dotted": tmp_path / "in" / ".." / "in" / "net.ckpt",
        "link": tmp_path / "link.ckpt",
        "hard link": tmp_path / "hard.ckpt",
        "folder link": tmp_path / "other" / "net.ckpt",
    }[way]
    (tmp_path / "link.ckpt").symlink_to(given)
    (tmp_path / "hard.ckpt").hardlink_to(given)
    (tmp_path / "other").symlink_to(given.parent)
    with pytest.raises(UserError, match=r"\.ckpt.* is an input, and would be overwritten"):
        check_file(output, [tmp_path / "gone", given])
    check_file(tmp_path / "in" / "new.ckpt", [given])
    refuse_inputs([tmp_path / "gone"], [tmp_path / "gone"])


def test_files_and_folders_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written \(Is a directory\)\. Name a file"):
        check_file(tmp_path)
    with pytest.raises(UserError, match=r"file/new/a cannot be written \(.*file is a file\)"):
        check_file(tmp_path / "file" / "new" / "a")
    with pytest.raises(UserError, match=r"file cannot be written \(it is a file\)\. Name a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(UserError, match=r"\(File name too long\)"):
        check_file(tmp_path / ("x" * 300))
    check_folder(tmp_path / "new" / "folder")
    check_file(Path("/dev/null"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_without_room(small_disk: Path) -> None:
    check_file(small_disk / "a", num_bytes=10_000)
    with pytest.raises(UserError, match=r"\(No space left on device: 0\.0 MB free, 0\.1 MB needed\)"):
        check_file(small_disk / "a", num_bytes=99_000)
    (small_disk / "rest").write_bytes(bytes(12 * 1024))
    with pytest.raises(UserError, match="No space left on device"):
        check_folder(small_disk / "new")


def test_a_read_only_place(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for check in (check_file, check_folder):
        with pytest.raises(UserError, match=r"\(Read-only file system\)"):
            check(small_disk / "new")


@pytest.mark.parametrize("url", ["s3://bucket/results.csv", "http://host/results.csv", "S3://bucket/results.csv"])
def test_a_url_is_no_place_on_disk(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path has one slash of two, and would be a folder named s3: here."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{url} is a URL, but this is written to disk; name a file here"):
        check_file(Path(url))
    with pytest.raises(UserError, match=f"{url} is a URL, but this is written to disk; name a folder here"):
        check_folder(Path(url))
    check_file(tmp_path / "s3:" / "results.csv")
