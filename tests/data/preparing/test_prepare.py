import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from videonl.data.indexing.examine import make_index
from videonl.data.indexing.index_file import read_index, write_index
from videonl.data.indexing.journal import Journal
from videonl.data.preparing.encoding import Encoding
from videonl.data.preparing.prepare import prepare
from videonl.data.reading.decoding import open_video
from videonl.data.sources.labeled import read_source
from videonl.errors import UserError
from videonl.files import LOCK, locked

SMALL = Encoding(short_side_px=34, key_frame_every=5)


@pytest.fixture
def index(troubled: Path) -> Path:
    make_index(read_source(str(troubled)), troubled.parent / "index.parquet", "decode")
    return troubled.parent / "index.parquet"


@pytest.fixture
def bar_code(read_index: Callable[[torch.Tensor], int]) -> Callable[[torch.Tensor], int]:
    """The fixture ``read_index``, whose name here is the function's that reads an index."""
    return read_index


def modified(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.mp4"))}


def test_a_prepared_folder_is_a_source_that_may_move(
    index: Path, tmp_path: Path, bar_code: Callable[[torch.Tensor], int]
) -> None:
    before = {path: path.stat() for path in sorted(index.parent.rglob("*"))}
    records, failed = prepare(index, tmp_path / "out", SMALL)
    assert {path: path.stat().st_mtime_ns for path in before} == {path: was.st_mtime_ns for path, was in before.items()}
    assert failed == []
    assert [record.path for record in records] == ["a b/good one.mp4", "c/other.mp4", "c/copy.mp4"]
    assert [(record.num_frames, record.height) for record in records] == [(23, 34), (31, 34), (23, 34)]
    assert all(record.psnr_db is not None and record.psnr_db > 30 for record in records)
    assert [record.source_hash for record in records] == [r.content_hash for r in read_index(index)[:3]]
    (tmp_path / "out").rename(tmp_path / "moved")
    entries = read_source(f"{tmp_path / 'moved'}#val")
    assert [(entry.path.name, entry.label) for entry in entries] == [("other.mp4", "c"), ("copy.mp4", "c")]
    assert [bar_code(frame) for frame in open_video(entries[0].path).read([30, 3])] == [30, 3]


def test_only_what_is_not_there_is_encoded(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, _ = prepare(index, out, SMALL)
    written = modified(out)
    assert prepare(index, out, SMALL)[0] == first
    assert modified(out) == written
    # As if it had been killed: no index yet, one line in the journal, another file half written.
    (out / "index.parquet").unlink()
    with Journal.beside(out / "index.parquet").writing() as journal:
        journal.append(first[0])
    (out / "c" / "other.mp4.unfinished").write_bytes(b"half")
    (out / "c" / "copy.mp4").write_bytes(b"not ours")
    second, _ = prepare(index, out, SMALL)
    assert second[0] == first[0]
    # Not the bytes: what x264's macroblock tree finds in its memory now and then changes them.
    facts = ("path", "source_hash", "num_frames", "width", "height", "key_frames")
    assert [[getattr(new, name) for name in facts] for new in second] == [
        [getattr(old, name) for name in facts] for old in first
    ]
    assert modified(out)[out / "a b" / "good one.mp4"] == written[out / "a b" / "good one.mp4"]
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [
        "copy.mp4",
        "good one.mp4",
        "index.parquet",
        "other.mp4",
        "prepared.json",
    ]


def test_names_that_would_meet_keep_their_suffix(tmp_path: Path, encode_video: Callable[..., Path]) -> None:
    for name in ("a.mkv", "A.avi", "b.mkv"):
        encode_video(tmp_path / "in" / "x" / name, num_frames=5, codec="mpeg4")
    make_index(read_source(str(tmp_path / "in")), tmp_path / "index.parquet", "packets")
    records, _ = prepare(tmp_path / "index.parquet", tmp_path / "out", SMALL)
    assert [record.path for record in records] == ["A.avi.mp4", "a.mkv.mp4", "b.mp4"]


def test_a_source_that_changed_is_named_and_the_rest_is_done(index: Path, tmp_path: Path) -> None:
    os.utime(index.parent / "c" / "other.mkv", ns=(1, 1))
    records, failed = prepare(index, tmp_path / "out", SMALL)
    assert len(records) == 2
    assert [(Path(failure.path).name, failure.reason) for failure in failed] == [
        ("other.mkv", "has changed since it was indexed; index it again")
    ]


def test_the_sources_are_not_written_to(index: Path, tmp_path: Path) -> None:
    for output in (index.parent, index.parent / "a b", index.parent / "c" / "deep", tmp_path, index.parent / "new"):
        with pytest.raises(UserError, match="would mix with the source videos"):
            prepare(index, output, SMALL)


@pytest.mark.parametrize("indexed", ["in", "in/train"])
def test_a_folder_beside_splits_would_be_taken_for_one(
    tmp_path: Path, encode_video: Callable[..., Path], indexed: str
) -> None:
    for split in ("train", "val"):
        encode_video(tmp_path / "in" / split / "x" / "a.mp4", num_frames=5)
    make_index(read_source(str(tmp_path / indexed)), tmp_path / "index.parquet", "packets")
    with pytest.raises(UserError, match="would mix with the source videos"):
        prepare(tmp_path / "index.parquet", tmp_path / "in" / "prepared", SMALL)
    assert len(read_source(str(tmp_path / "in"))) == 2
    if indexed == "in/train":
        (tmp_path / "in" / "runs").mkdir()  # then the folder around is no source
        prepare(tmp_path / "index.parquet", tmp_path / "in" / "prepared", SMALL)


def test_one_process_at_a_time_prepares_a_folder(index: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (
        locked(tmp_path / "out" / LOCK, "a test"),
        pytest.raises(UserError, match="being prepared already"),
    ):
        prepare(index, tmp_path / "out", SMALL)


def test_folders_that_are_not_ours_are_refused(index: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(UserError, match="not prepared by videonl"):
        prepare(index, tmp_path / "full", SMALL)
    with pytest.raises(UserError, match="is a file"):
        prepare(index, tmp_path / "full" / "thesis.txt", SMALL)
    prepare(index, tmp_path / "out", SMALL)
    with pytest.raises(UserError, match="prepared with other settings"):
        prepare(index, tmp_path / "out", Encoding())
    write_index(index, [replace(record, status="broken") for record in read_index(index)])
    with pytest.raises(UserError, match="no video files to prepare"):
        prepare(index, tmp_path / "none", SMALL)
