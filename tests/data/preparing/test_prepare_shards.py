"""Shards at a URL: the bytes of those made on disk, whole or not there, and only a few on this disk at a time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from videonl.data.indexing.examine import make_index
from videonl.data.indexing.fingerprint import content_hash
from videonl.data.indexing.index_file import IndexRow, read_index, write_index
from videonl.data.preparing import shard_run
from videonl.data.preparing.encoding import Encoded, Encoding, encode
from videonl.data.preparing.prepare import encode_one, prepare
from videonl.data.preparing.prepare_shards import Engine, prepare_shards
from videonl.data.preparing.shards import write_shards
from videonl.data.preparing.storing import store
from videonl.data.reading import fetching
from videonl.data.reading.decoding import open_video
from videonl.data.reading.segment import Segment, VideoPart
from videonl.data.reading.url_path import UrlPath
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source
from videonl.errors import UserError
from videonl.runtime.parallel import NoResult, map_limited

SMALL = Encoding(short_side_px=34, key_frame_every=5)
SHARD_BYTES = 3000
OUTPUT = UrlPath("memory://bucket/prepared")


@pytest.fixture
def index(memory: Any, video_folder: Path, tmp_path: Path) -> Path:
    """Of the seven videos in memory, those of class c for validation."""
    memory.put(f"{video_folder}/", "/bucket/videos", recursive=True)
    entries = read_source("memory://bucket/videos")
    entries = [entry._replace(split="val" if entry.label == "c" else "train") for entry in entries]
    write_index(tmp_path / "index.parquet", list(in_this_process(entries, tmp_path)))
    return tmp_path / "index.parquet"


def in_this_process(entries: list[LabeledPath], folder: Path) -> list[IndexRow]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("videonl.data.indexing.examine.map_limited", here)
        return make_index(entries, folder / "made.parquet", "packets")


def here(function: Callable[[Any], Any], items: Any, *_: Any) -> Iterator[tuple[Any, Any]]:
    """As map_limited, in this process, in which the storage in memory is."""
    for item in items:
        yield item, function(item)


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """All in this process, which encodes each video once: x264 does not always give the same bytes."""
    made: dict[tuple[str, range | None], tuple[Encoded, bytes]] = {}

    def encode_once(source: Path, target: Path, how: Encoding, num_frames: int, frames: range | None) -> Encoded:
        key = (content_hash(source), frames)
        if key not in made:
            made[key] = encode(source, target, how, num_frames, frames), target.read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(made[key][1])
        return made[key][0]

    monkeypatch.setattr("videonl.data.preparing.prepare.encode", encode_once)
    monkeypatch.setattr(shard_run, "map_limited", here)
    monkeypatch.setattr("videonl.data.preparing.prepare.map_limited", here)
    monkeypatch.setattr(fetching, "_FIRST_WAIT_SECONDS", 0.001)


class KilledError(Exception): ...


def local_shards(index: Path, folder: Path, cut: bool = False) -> Path:
    prepare(index, folder, SMALL, cut=cut)
    write_shards(folder / "index.parquet", folder / "shards", SHARD_BYTES)
    return folder / "shards"


def prepared(index: Path, work: Path, output: UrlPath = OUTPUT, **options: Any) -> list[IndexRow]:
    return prepare_shards(index, output, work, SMALL, SHARD_BYTES, **options)[0]


def assert_same(memory: Any, shards: Path, output: str = "/bucket/prepared") -> None:
    """The same tar files, and rows that differ in nothing but when the files were written."""
    tars = {path.name: path.read_bytes() for path in shards.glob("*.tar")}
    names = [path.rpartition("/")[2] for path in memory.find(output)]
    assert sorted(names) == sorted([*tars, "index.parquet", "prepared.json", "report.json"])
    assert all(memory.cat_file(f"{output}/{name}") == data for name, data in tars.items())
    there, local = read_index(f"memory:/{output}"), read_index(shards)
    assert [replace(row, modified_ns=None) for row in there] == [replace(row, modified_ns=None) for row in local]


def test_shards_at_a_url_are_the_bytes_of_those_on_disk(index: Path, memory: Any, tmp_path: Path) -> None:
    rows = prepared(index, tmp_path / "work")
    assert len(rows) == 7 and len({row.shard for row in rows}) == 4
    assert_same(memory, local_shards(index, tmp_path / "local"))
    assert list((tmp_path / "work").iterdir()) == []
    assert {entry.split for entry in read_source(f"{OUTPUT}#train")} == {"train"}


def test_a_video_that_fails_moves_no_other(index: Path, memory: Any, tmp_path: Path) -> None:
    broken = sorted(memory.find("/bucket/videos"))[3]
    memory.pipe_file(broken, memory.cat_file(broken)[:700])
    rows, failed = prepare_shards(index, OUTPUT, tmp_path / "work", SMALL, SHARD_BYTES)
    assert [each.reason for each in failed] == ["has changed since it was indexed; index it again"]
    assert_same(memory, local_shards(index, tmp_path / "local"))
    again = prepare_shards(index, OUTPUT, tmp_path / "work", SMALL, SHARD_BYTES)
    assert again == (rows, failed)


@pytest.mark.parametrize("cut", [False, True])
def test_segments_are_packed_as_on_disk(memory: Any, video_folder: Path, tmp_path: Path, cut: bool) -> None:
    """Whole videos once for each split, or a file for each part."""
    long = sorted(video_folder.glob("*/*.mp4"))[3:5]
    parts = [VideoPart(long[place % 2], Segment(3 * place, 3 * place + 5, in_frames=True)) for place in range(5)]
    entries = [LabeledPath(part, "ab"[n % 3 // 2], str(n), "train" if n else "val") for n, part in enumerate(parts)]
    write_index(tmp_path / "index.parquet", in_this_process(entries, tmp_path))
    prepared(tmp_path / "index.parquet", tmp_path / "work", cut=cut)
    assert_same(memory, local_shards(tmp_path / "index.parquet", tmp_path / "local", cut))


@pytest.mark.parametrize("num_done", [0, 1, 4, 6])
def test_an_interrupted_run_resumes(
    index: Path, memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_done: int
) -> None:
    encoded: list[str] = []

    def interrupted(job: Any) -> IndexRow | NoResult:
        if len(encoded) == num_done:
            raise KilledError
        encoded.append(job.name)
        return encode_one(job)

    monkeypatch.setattr(shard_run, "encode_one", interrupted)
    with pytest.raises(KilledError):
        prepared(index, tmp_path / "work")
    assert not memory.exists("/bucket/prepared/index.parquet")
    first = list(encoded)
    num_done = -1
    prepared(index, tmp_path / "work")
    assert len(set(encoded)) == len(encoded) == 7 and encoded[: len(first)] == first
    assert_same(memory, local_shards(index, tmp_path / "local"))


def test_a_storage_that_refuses_in_the_middle_loses_nothing(
    index: Path, memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []

    def refuse_third(content: Path | bytes, target: UrlPath) -> None:
        if target.name == "train-000001.tar":
            raise OSError("quota exceeded")
        store(content, target)

    def counted(job: Any) -> IndexRow | NoResult:
        encoded.append(job.name)
        return encode_one(job)

    monkeypatch.setattr(shard_run, "encode_one", counted)
    monkeypatch.setattr(shard_run, "store", refuse_third)
    with pytest.raises(UserError, match=r"prepared: cannot be written \(quota exceeded\)\. What is done is kept"):
        prepared(index, tmp_path / "work")
    assert memory.exists("/bucket/prepared/train-000000.tar")
    assert not memory.exists("/bucket/prepared/train-000001.tar")
    monkeypatch.setattr(shard_run, "store", store)
    prepared(index, tmp_path / "work")
    assert len(encoded) == len(set(encoded)) == 7
    assert_same(memory, local_shards(index, tmp_path / "local"))


def test_few_files_are_on_this_disk_at_a_time(
    index: Path, memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first video takes long, the others wait for it, up to two shards of them."""
    most: list[int] = []

    def first_last(function: Any, items: Any, *_: Any) -> Iterator[tuple[Any, Any]]:
        remaining = iter(items)
        first = next(remaining)
        for item in remaining:
            yield item, function(item)
            most.append(sum(path.stat().st_size for path in (tmp_path / "work" / "files").glob("*.mp4")))
        yield first, function(first)

    monkeypatch.setattr(shard_run, "map_limited", first_last)
    prepared(index, tmp_path / "work")
    largest = max(row.num_bytes or 0 for row in read_index(str(OUTPUT)))
    assert 2 * SHARD_BYTES < max(most) < 3 * SHARD_BYTES + largest
    assert_same(memory, local_shards(index, tmp_path / "local"))


def test_another_index_replaces_what_is_there(index: Path, memory: Any, tmp_path: Path) -> None:
    prepared(index, tmp_path / "work")
    memory.pipe_file("/bucket/prepared/other-000000.tar", b"not ours")
    write_index(index, read_index(index)[:2])
    rows = prepared(index, tmp_path / "work")
    assert len(rows) == 2
    memory.rm_file("/bucket/prepared/other-000000.tar")
    assert_same(memory, local_shards(index, tmp_path / "local"))


def test_what_is_there_already_is_left_alone(index: Path, memory: Any, tmp_path: Path) -> None:
    rows = prepared(index, tmp_path / "work")
    written = {path: memory.created(path) for path in memory.find("/bucket/prepared")}
    for name in ("shards.jsonl", "plan.json"):
        (tmp_path / "work" / name).touch()  # as a command leaves it that was killed at the very end
    assert prepared(index, tmp_path / "work") == rows
    assert {path: memory.created(path) for path in memory.find("/bucket/prepared")} == written
    assert not list((tmp_path / "work").iterdir())


def test_an_index_of_nothing_but_failures_is_empty(index: Path, memory: Any, tmp_path: Path) -> None:
    write_index(index, [replace(row, num_frames=97) for row in read_index(index)[:2]])
    for _ in range(2):
        rows, failed = prepare_shards(index, OUTPUT, tmp_path / "work", SMALL, SHARD_BYTES)
        assert rows == read_index(str(OUTPUT)) == []
        assert len(failed) == 2 and "frames, but the index says 97; index it again" in failed[0].reason


def test_what_is_not_ours_is_refused(index: Path, memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/bucket/mine/notes.txt", b"mine")
    with pytest.raises(UserError, match=r"memory://bucket/mine: is not empty, and was not prepared by videonl"):
        prepared(index, tmp_path / "work", UrlPath("memory://bucket/mine"))
    prepared(index, tmp_path / "work")
    with pytest.raises(UserError, match=r"memory://bucket/prepared: was prepared with other settings"):
        prepare_shards(index, OUTPUT, tmp_path / "work", SMALL, 2 * SHARD_BYTES)
    with pytest.raises(UserError, match=r"https://127\.0\.0\.1:9/x: cannot be written \(Cannot connect to host"):
        prepared(index, tmp_path / "work", UrlPath("https://127.0.0.1:9/x"))


class Failing(fsspec.AbstractFileSystem):
    """That in memory, of which a file breaks off in the middle, at the first tries."""

    protocol = "failing"
    num_failures = 0

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return _Breaking(self, f"/{path}", mode, **{**options, "block_size": 1000})

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        data: bytes = fsspec.filesystem("memory").cat_file(f"/{path}", start, end)
        return data

    def info(self, path: str, **options: Any) -> Any:
        return fsspec.filesystem("memory").info(f"/{path}")

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return fsspec.filesystem("memory").ls(f"/{path}", detail=detail)


class _Breaking(fsspec.spec.AbstractBufferedFile):
    def _initiate_upload(self) -> None:
        self.parts: list[bytes] = []

    def _upload_chunk(self, final: bool = False) -> bool:
        if Failing.num_failures > 0 and self.parts:
            Failing.num_failures -= 1
            raise ConnectionResetError("broken off")
        self.parts.append(self.buffer.getvalue())
        if self.autocommit and final:
            self.commit()
        return True

    def commit(self) -> None:
        fsspec.filesystem("memory").pipe_file(self.path, b"".join(self.parts))

    def discard(self) -> None:
        self.parts.clear()


def test_a_file_is_stored_whole_or_not_at_all(memory: Any, tmp_path: Path) -> None:
    fsspec.register_implementation("failing", Failing, clobber=True)
    (tmp_path / "shard").write_bytes(content := bytes(range(251)) * 23)
    Failing.num_failures = 1000
    with pytest.raises(OSError, match=r"broken off; gave up after 6 tries"):
        store(tmp_path / "shard", UrlPath("failing://bucket/shard"))
    assert memory.find("/bucket") == []
    memory.pipe_file("/bucket/shard", b"older")
    Failing.num_failures = 2
    store(tmp_path / "shard", UrlPath("failing://bucket/shard"))
    assert memory.cat_file("/bucket/shard") == content


@pytest.mark.slow
def test_from_a_bucket_to_a_bucket(
    storage: Any, video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through S3, whose parts are put together in the end."""
    storage.put(f"{video_folder}/", "clips/videos", recursive=True)
    write_index(tmp_path / "index.parquet", in_this_process(read_source("s3://clips/videos"), tmp_path))
    monkeypatch.setattr(shard_run, "map_limited", map_limited)
    output = UrlPath("s3://clips/prepared")
    rows = prepare_shards(tmp_path / "index.parquet", output, tmp_path / "work", SMALL, SHARD_BYTES, Engine(1))[0]
    local = local_shards(tmp_path / "index.parquet", tmp_path / "local")
    for row, again in zip(rows, read_index(local), strict=True):
        assert (row.shard, row.path, row.label, row.source_hash) == (
            again.shard,
            again.path,
            again.label,
            again.source_hash,
        )
    with open_video(read_source(str(output))[3].path) as there, open_video(read_source(str(local))[3].path) as known:
        everything = range(known.num_frames)
        assert (there.read(everything).float() - known.read(everything).float()).abs().mean() < 0.1
    (tmp_path / "large").write_bytes(large := bytes(11 * 2**20))
    store(tmp_path / "large", UrlPath("s3://clips/large"))
    assert storage.cat_file("clips/large") == large
    assert json.loads(storage.cat_file("clips/prepared/report.json"))["failed"] == []


def test_what_others_have_in_the_folder_for_work_stays(index: Path, memory: Any, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    with pytest.raises(UserError, match="is not empty, and is not of an interrupted `videonl prepare`"):
        prepared(index, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.parquet")} == before
    assert not memory.exists("/bucket/prepared")


@pytest.mark.parametrize("name", ["videos", "videos/a", "videos/new", "videos/a/new", "."])
def test_shards_do_not_mix_with_the_videos(index: Path, memory: Any, tmp_path: Path, name: str) -> None:
    """A folder beside class folders would be a class for the next index."""
    before = memory.find("/bucket")
    output = UrlPath("memory://bucket") if name == "." else UrlPath(f"memory://bucket/{name}")
    with pytest.raises(UserError, match="would mix with the source videos"):
        prepared(index, tmp_path / "work", output)
    assert memory.find("/bucket") == before and not (tmp_path / "work").exists()
