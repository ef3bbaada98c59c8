"""Indexes of videos at URLs: the rows of the same files on disk, each fetched once, and again when it changed."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from videonl.data.datamodule import ClipDataModule
from videonl.data.indexing import examine as examining
from videonl.data.indexing.examine import make_index
from videonl.data.indexing.facts import Task, examine
from videonl.data.indexing.index_file import IndexRow, read_index, write_index
from videonl.data.loader import Loading
from videonl.data.reading import fetching
from videonl.data.reading.fetching import facts_of
from videonl.data.reading.url_path import UrlPath
from videonl.data.sources.labeled import read_source, read_sources
from videonl.data.splitting.written import write_list
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError


def same_but_for_places(row: IndexRow) -> IndexRow:
    return replace(row, path=Path(row.path).name, modified_ns=None, version="")


def test_the_rows_are_those_of_the_same_files_on_disk(
    troubled: Path,
    storage: Any,
    tmp_path: Path,
    encode_video: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also for broken, empty and missing files, with files deep in class folders, and in the order of the folder."""
    folder = troubled.parent
    (folder / "pipe.mp4").unlink()
    encode_video(folder / "c" / "deep" / "7.mp4", num_frames=7)
    encode_video(folder / "c" / "deep-est" / "5.mp4", num_frames=5)
    (folder / "c" / ".hidden.mp4").write_bytes(b"x")
    for name in ("truncated", "empty", "garbage"):
        (folder / f"{name}.mp4").rename(folder / "a b" / f"{name}.mp4")
    storage.put(f"{folder}/", "clips/videos", recursive=True)
    storage.touch("clips/videos/c/")  # as consoles make folders
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")  # of a page
    local = make_index(read_source(str(folder)), tmp_path / "local.parquet")
    remote = make_index(read_source("s3://clips/videos"), tmp_path / "remote.parquet")
    assert [row.path for row in remote] == [f"s3://clips/{row.path}" for row in local]
    assert list(map(same_but_for_places, remote)) == list(map(same_but_for_places, local))
    assert [row.status for row in remote] == ["broken", "broken", "ok", "broken", "ok", "ok", "ok", "ok"]
    assert all(row.version and row.modified_ns is None for row in remote)
    assert read_index(tmp_path / "remote.parquet") == remote


@pytest.fixture
def videos(memory: Any, video_folder: Path) -> str:
    """The seven videos in memory."""
    for path in video_folder.glob("*/*.mp4"):  # other tests write beside them
        memory.pipe_file(f"/bucket/videos/{path.parent.name}/{path.name}", path.read_bytes())
    return "memory://bucket/videos"


def here(function: Callable[[Any], Any], tasks: Any, *_: Any) -> Iterator[tuple[Any, Any]]:
    """As map_limited, in this process."""
    for task in tasks:
        yield task, function(task)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Answers all with a code, if one is set."""

    code = 0

    def send_head(self) -> Any:
        return self.send_error(self.code) if self.code else super().send_head()

    def log_message(self, *args: object) -> None: ...


class Storage(fsspec.AbstractFileSystem):
    """That in memory, in which each request is counted, and fails as a test says."""

    protocol = "counted"
    requests: list[tuple[str, str]]
    fails: Callable[[int], Exception | None]

    def _answer(self, kind: str, path: str) -> Any:
        self.requests.append((kind, path))
        if (error := type(self).fails(len(self.requests))) is not None:
            raise error
        return fsspec.filesystem("memory")

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return self._answer("ls", path).ls(path, detail=detail)

    def info(self, path: str, **options: Any) -> Any:
        return self._answer("info", path).info(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        data: bytes = self._answer("cat", path).cat_file(path, start, end)
        return data


@pytest.fixture
def counted(videos: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same videos; examined in this process, whose requests are counted."""
    fsspec.register_implementation("counted", Storage, clobber=True)
    Storage.requests, Storage.fails = [], staticmethod(lambda number: None)  # type: ignore[assignment]  # set again by tests
    monkeypatch.setattr(fetching, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(
        examining, "map_limited", lambda function, tasks, *_: ((task, function(task)) for task in tasks)
    )
    return videos.replace("memory:", "counted:")


def test_each_file_is_fetched_once_and_again_when_it_changed(counted: str, memory: Any, tmp_path: Path) -> None:
    output = tmp_path / "index.parquet"
    first = make_index(read_source(counted), output, "packets")
    asked = [kind for kind, _ in Storage.requests]
    assert (asked.count("cat"), asked.count("ls")) == (7, 4)
    Storage.requests.clear()
    assert make_index(read_source(counted), output, "packets") == first
    assert "cat" not in [kind for kind, _ in Storage.requests]
    changed = sorted(path for path in memory.find("/bucket/videos"))[2]
    memory.pipe_file(changed, memory.cat_file(changed) + b"\0")
    second = make_index(read_source(counted), output, "packets")
    assert [path for kind, path in Storage.requests if kind == "cat"] == [changed.lstrip("/")]
    assert [row.num_bytes for row in second] == [row.num_bytes + (place == 2) for place, row in enumerate(first)]  # type: ignore[operator]  # sizes are known


def test_a_list_may_name_urls_or_have_its_root_at_one(counted: str, video_folder: Path, tmp_path: Path) -> None:
    paths = sorted(video_folder.glob("*/*.mp4"))
    names = [f"{path.parent.name}/{path.name}" for path in paths]
    (tmp_path / "named.csv").write_text("".join(f"{counted}/{name},{name[0]}\n" for name in names))
    (tmp_path / "below.csv").write_text("".join(f"{name},{name[0]}\n" for name in names))
    (tmp_path / "moved.csv").write_text("".join(f"/old/{name},{name[0]}\n" for name in names))
    expected = [(f"{counted}/{name}", name[0]) for name in names]
    root = UrlPath(counted)
    for source, options in (("named", {}), ("below", {"root": root}), ("moved", {"path_prefix": f"/old={counted}"})):
        entries = read_sources(str(tmp_path / f"{source}.csv"), **options)  # type: ignore[arg-type]  # each has its own type
        assert [(str(entry.path), entry.label) for entry in entries] == expected
    local = make_index(read_source(str(video_folder)), tmp_path / "local.parquet", "packets")
    remote = make_index(entries, tmp_path / "remote.parquet", "packets")
    assert list(map(same_but_for_places, remote)) == list(map(same_but_for_places, local))


def test_official_lists_find_their_files_below_a_url(counted: str, tmp_path: Path) -> None:
    """By one listing, without a request for each; files that are not there stay expected."""
    rows = ["label,youtube_id,time_start,time_end,split", "run,clip_3,0,10,val", "run,gone,0,10,train"]
    (tmp_path / "k.csv").write_text("\n".join(rows))
    found, gone = read_source(str(tmp_path / "k.csv"), UrlPath(counted))
    assert str(found.path) == f"{counted}/b/clip_3.mp4"
    assert str(gone.path) == f"{counted}/run/gone_000000_000010.mp4"
    assert {kind for kind, _ in Storage.requests} == {"ls"}
    assert make_index([found, gone], tmp_path / "index.parquet", "packets")[1].status == "missing"
    (tmp_path / "k.csv").write_text("\n".join([rows[0], rows[2]]))
    with pytest.raises(UserError, match=r"none of its 1 clips was found below counted://bucket/videos"):
        read_source(str(tmp_path / "k.csv"), UrlPath(counted))


def test_requests_that_fail_now_and_then_lose_nothing(counted: str, tmp_path: Path) -> None:
    expected = make_index(read_source(counted), tmp_path / "expected.parquet", "packets")
    Storage.fails = staticmethod(lambda number: ConnectionResetError("reset") if number % 3 else None)  # type: ignore[assignment]  # see counted
    (tmp_path / "other").mkdir()
    assert make_index(read_source(counted), tmp_path / "other" / "index.parquet", "packets") == expected


def test_a_storage_that_is_gone_ends_the_command_and_the_next_one_resumes(
    counted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, output = read_source(counted), tmp_path / "index.parquet"
    expected = make_index(entries, tmp_path / "expected.parquet", "packets")
    (tmp_path / "expected.parquet").unlink()
    monkeypatch.setattr(fetching, "_OUTAGE", 3)
    gone_after = len(Storage.requests) + 2
    Storage.fails = staticmethod(lambda number: OSError("no route") if number > gone_after else None)  # type: ignore[assignment]  # see counted
    with pytest.raises(
        UserError, match=r"^3 files in a row cannot be fetched \(no route; gave up after 6 tries\)\. What"
    ):
        make_index(entries, output, "packets")
    assert not output.exists()
    Storage.fails = staticmethod(lambda number: None)  # type: ignore[assignment]  # see counted
    Storage.requests.clear()
    assert make_index(entries, output, "packets") == expected
    assert len(Storage.requests) == 5


def test_what_cannot_be_read_is_named(counted: str, memory: Any, tmp_path: Path) -> None:
    Storage.fails = staticmethod(lambda number: PermissionError("Forbidden"))  # type: ignore[assignment]  # see counted
    with pytest.raises(
        UserError, match=r"cannot be read \(Forbidden; the storage asks for credentials .*docs/distributed"
    ):
        read_source(counted)
    Storage.fails = staticmethod(lambda number: None)  # type: ignore[assignment]  # see counted
    with pytest.raises(UserError, match=r"counted://none: cannot be listed \(.*does not exist\)"):
        read_source("counted://none")
    with pytest.raises(
        UserError, match=r"clip_0\.mp4: is a file, and lists are read from disk.*--root counted://bucket"
    ):
        read_source(f"{counted}/a/clip_0.mp4")
    (tmp_path / "list.csv").write_text("x/none.mp4,run\n")
    with pytest.raises(UserError, match=r"none of the first files listed exists.*counted://bucket/videos/x/none\.mp4"):
        read_source(str(tmp_path / "list.csv"), UrlPath(counted))
    memory.pipe_file("/bucket/videos/a/frames/img_00001.jpg", b"x")
    with pytest.raises(
        UserError, match=r"videos/a/frames: is a folder of frames \(img_00001\.jpg\), which are read from"
    ):
        read_source(counted)


def test_splits_and_parts_of_names_are_those_of_folders(memory: Any, video_folder: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for path in sorted(video_folder.glob("*/*.mp4")):
            (tmp_path / split / path.parent.name).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / path.parent.name / path.name).write_bytes(path.read_bytes())
    memory.put(f"{tmp_path}/", "/bucket", recursive=True)
    local, remote = read_source(f"{tmp_path}"), read_source("memory://bucket")
    assert [entry[1:2] + entry[3:] for entry in remote] == [entry[1:2] + entry[3:] for entry in local]
    assert {entry.split for entry in read_source("memory://bucket#val")} == {"val"}


def test_a_training_may_have_its_root_at_a_url(videos: str, video_folder: Path, tmp_path: Path) -> None:
    """Of sources there, of a list here, and of an index of files at URLs."""
    names = [f"{path.parent.name}/{path.name}" for path in sorted(video_folder.glob("*/*.mp4"))]
    (tmp_path / "list.csv").write_text("".join(f"{name},{name[0]}\n" for name in names))
    write_index(tmp_path / "index.parquet", [IndexRow(f"{videos}/{name}", name[0]) for name in names])
    local = clips(str(video_folder), None)
    for source, root in (
        ("videos", "memory://bucket"),
        (str(tmp_path / "list.csv"), videos),
        (str(tmp_path / "index.parquet"), None),
    ):
        assert torch.equal(clips(source, root), local)


def clips(source: str, root: str | None) -> torch.Tensor:
    clip = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
    data = ClipDataModule(train=source, root=root, clip=clip, loading=Loading(batch_size=7, num_workers=0))
    (batch,) = data.train_dataloader()
    assert not any(batch.get("failures", ()))
    frames: torch.Tensor = batch["clip"]
    return frames


def test_a_list_of_a_split_names_urls(videos: str, tmp_path: Path) -> None:
    """Relative to the root where they lie below it."""
    entries = [entry._replace(split="train") for entry in read_source(videos)]
    for root, name in ((None, f"{videos}/a/clip_0.mp4"), (UrlPath(videos), "a/clip_0.mp4")):
        write_list(tmp_path / "split.csv", entries, [], root)
        assert (tmp_path / "split.csv").read_text().splitlines()[1] == f"{name},a,train"
        again = read_source(str(tmp_path / "split.csv"), root)
        assert [(str(entry.path), entry.label) for entry in again] == [(str(e.path), e.label) for e in entries]


def test_folders_of_a_web_server(video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has neither tags nor listings but pages with links."""
    monkeypatch.setattr(fetching, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(
        examining, "map_limited", lambda function, tasks, *_: ((task, function(task)) for task in tasks)
    )
    handler = functools.partial(Quiet, directory=str(video_folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        source = f"http://127.0.0.1:{server.server_port}/{video_folder.name}"
        remote = make_index(read_source(source), tmp_path / "remote.parquet", "packets")
        with pytest.raises(FileNotFoundError):
            facts_of(f"{source}/gone.mp4")
        for code in (403, 503):
            monkeypatch.setattr(Quiet, "code", code)
            assert examine(Task(UrlPath(remote[0].path), "packets")).reason.startswith(f"cannot be fetched ({code}")
        server.shutdown()
    assert examine(Task(UrlPath(remote[0].path), "packets")).reason.startswith("cannot be fetched (Cannot connect")
    local = make_index(read_source(str(video_folder)), tmp_path / "local.parquet", "packets")
    assert [row.path for row in remote] == [f"{source}/{row.label}/{Path(row.path).name}" for row in local]
    assert list(map(same_but_for_places, remote)) == list(map(same_but_for_places, local))
