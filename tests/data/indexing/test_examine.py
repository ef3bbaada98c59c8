import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from videonl.data.indexing.examine import make_index
from videonl.data.indexing.index_file import read_index, write_index
from videonl.data.indexing.journal import Journal
from videonl.data.sources.labeled import read_source
from videonl.errors import UserError


def test_every_kind_of_trouble_is_told_apart(troubled: Path) -> None:
    output = troubled.parent / "index.parquet"
    records = make_index(read_source(str(troubled)), output)
    assert records == read_index(output)
    status = {Path(record.path).stem: record.status for record in records}
    assert status == {
        **dict.fromkeys(("good one", "other", "copy"), "ok"),
        **dict.fromkeys(("truncated", "empty", "garbage", "pipe"), "broken"),
        "gone": "missing",
    }
    assert [(record.path, record.label, record.split) for record in records[:2]] == [
        ("a b/good one.mp4", "a b", "train"),
        ("c/other.mkv", "c", "val"),
    ]
    assert not list(troubled.parent.glob("*.part.jsonl"))


def test_what_version_0_1_found_is_examined_again_and_not_trusted(
    tmp_path: Path, encode_video: Callable[..., Path]
) -> None:
    encode_video(tmp_path / "clips" / "a" / "x.mp4", num_frames=7)
    source, output = read_source(str(tmp_path / "clips")), tmp_path / "index.parquet"
    (record,) = make_index(source, output)
    assert read_source(str(output))[0].frame_table == record.frame_table != ""
    # Of files whose times do not follow the pictures it called the decoding order ok, though no decoder agreed.
    write_index(output, [replace(record, exact_backends=[], num_frames=9, mirrored=None)])
    assert read_source(str(output))[0].frame_table == ""
    assert make_index(source, output) == [record]


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have no such names")
@pytest.mark.parametrize("name", [b"walk/caf\xe9.mp4", b"caf\xe9/a.mp4", b"walk/caf\xe9/img_00001.jpg"])
def test_names_in_other_encodings_are_refused(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "clips" / os.fsdecode(name)
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(UserError, match=r"caf\\xe9.*not valid UTF-8, which an index requires\. Rename it"):
        make_index(read_source(str(tmp_path / "clips")), tmp_path / "index.parquet")


def test_only_what_is_new_or_changed_is_examined_again(tmp_path: Path, encode_video: Callable[..., Path]) -> None:
    clips, output = tmp_path / "clips", tmp_path / "index.parquet"
    for number in range(3):
        encode_video(clips / "a" / f"{number}.mp4", num_frames=5 + number)
    first = make_index(read_source(str(clips)), output, "decode")
    encode_video(clips / "a" / "1.mp4", num_frames=13)
    encode_video(clips / "a" / "9.mp4", num_frames=17)
    told: list[tuple[int, int]] = []
    second = make_index(
        read_source(str(clips)), output, "decode", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(3, 4), (4, 4)]
    assert [record.num_frames for record in second] == [5, 13, 7, 17]
    assert (second[0], second[2]) == (first[0], first[2])
    told.clear()
    assert make_index(read_source(str(clips)), output, "decode", progress=lambda *now: told.append(now)) == second
    assert told == []


@pytest.mark.parametrize(
    "reason",
    ["cannot be read (Permission denied)", "crashed the process that read it (exit code -9)", "not done within 1 s"],
)
def test_what_may_pass_is_tried_again(tmp_path: Path, encode_video: Callable[..., Path], reason: str) -> None:
    encode_video(tmp_path / "clips" / "a" / "0.mp4", num_frames=5)
    output, entries = tmp_path / "index.parquet", read_source(str(tmp_path / "clips"))
    good = make_index(entries, output, "decode")
    write_index(output, [replace(good[0], status="broken", reason=reason)])
    assert make_index(entries, output, "decode") == good


def test_a_journal_goes_on_after_a_line_that_was_cut_off(tmp_path: Path, encode_video: Callable[..., Path]) -> None:
    clips, output = tmp_path / "clips", tmp_path / "index.parquet"
    for number in range(2):
        encode_video(clips / "a" / f"{number}.mp4", num_frames=7)
    finished = make_index(read_source(str(clips)), output, "decode")
    output.unlink()
    journal = Journal.beside(output)
    with journal.writing():
        journal.append(replace(finished[0], path=str(clips / "a" / "0.mp4"), codec="kept"))
    with journal.path.open("ab") as file:
        file.write(b'{"path": "half a li')
    records = make_index(read_source(str(clips)), output, "decode")
    assert [record.codec for record in records] == ["kept", "h264"]


def test_a_killed_run_keeps_what_it_finished(tmp_path: Path, encode_video: Callable[..., Path]) -> None:
    clips, output = tmp_path / "clips", tmp_path / "index.parquet"
    for number in range(3):
        encode_video(clips / "a" / f"{number}.mp4", num_frames=7)
    (clips / "list.txt").write_text("".join(f"a/{number}.mp4 a\n" for number in range(3)))
    # The third result never comes: the run is killed while it waits for it.
    program = f"""
import time
from pathlib import Path
from videonl.data.indexing import examine as indexing
from videonl.data.sources.labeled import read_source

real = indexing.map_limited

def stalling(*arguments):
    for number, item in enumerate(real(*arguments)):
        if number == 2:
            time.sleep(600)
        yield item

indexing.map_limited = stalling
indexing.make_index(read_source({str(clips / "list.txt")!r}), Path({str(output)!r}), "decode", 1)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    journal = Journal.beside(output)
    deadline = time.monotonic() + 60
    while len(journal.read()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    told: list[int] = []
    records = make_index(
        read_source(str(clips / "list.txt")), output, "decode", progress=lambda done, _: told.append(done)
    )
    assert told == [3]
    assert [record.num_frames for record in records] == [7, 7, 7]


def test_a_file_over_the_limit_is_broken_and_tried_again(tmp_path: Path, write_frames: Callable[..., Path]) -> None:
    output = tmp_path / "index.parquet"
    folder = write_frames(tmp_path / "clips" / "a" / "frames", 5)
    write_frames(tmp_path / "clips" / "a" / "good", 3)
    (folder / "img_00003.png").rename(tmp_path / "kept.png")
    os.mkfifo(folder / "img_00003.png")  # nobody ever writes to it
    records = make_index(read_source(str(tmp_path / "clips")), output, limit_seconds=1)
    assert [(record.status, record.reason) for record in records] == [
        ("broken", "not done within 1 seconds"),
        ("ok", ""),
    ]
    (tmp_path / "kept.png").replace(folder / "img_00003.png")
    records = make_index(read_source(str(tmp_path / "clips")), output)
    assert [(record.status, record.num_frames) for record in records] == [("ok", 5), ("ok", 3)]


def test_an_output_that_cannot_be_written_is_named(video_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/index\.parquet cannot be written \(.*file is a file\)"):
        make_index(read_source(str(video_folder)), tmp_path / "file" / "index.parquet")


def test_another_index_beside_serves_and_a_source_may_have_no_labels(
    tmp_path: Path, encode_video: Callable[..., Path]
) -> None:
    for number in range(3):
        encode_video(tmp_path / f"{number}.mp4", num_frames=5 + number)
    (tmp_path / "other.parquet").write_bytes(b"no index")
    (tmp_path / "val.txt").write_text("2.mp4\n")
    told: list[tuple[int, int]] = []
    make_index(read_source(str(tmp_path / "val.txt")), tmp_path / "val.parquet", "packets")
    journal = Journal.beside(tmp_path / "train.parquet")
    with journal.writing():
        (first, *_) = read_index(tmp_path / "val.parquet")
        stale = replace(first, path=str(tmp_path / "2.mp4"), modified_ns=7)
        journal.append(replace(stale, checked="decode", codec="less"))
    entries = read_source(str(tmp_path))
    records = make_index(entries, tmp_path / "all.parquet", "packets", progress=lambda *now: told.append(now))
    assert told == [(2, 3), (3, 3)]
    assert [(record.num_frames, record.label) for record in records] == [(5, ""), (6, ""), (7, "")]
    assert records[2] == first
    assert [entry.label for entry in read_source(str(tmp_path / "all.parquet"))] == [None, None, None]
