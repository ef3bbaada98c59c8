"""Training from a bucket: neighbors at once, ahead of need, again after failures, and kept on this machine."""

import http.server
import os
import pickle
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch

from videonl.data.datamodule import ClipDataModule
from videonl.data.fetch_ahead import FetchAhead, Foreseen
from videonl.data.indexing.examine import make_index
from videonl.data.loader import Loading
from videonl.data.preparing.shards import write_shards
from videonl.data.reading import fetching
from videonl.data.reading.fetching import fetch
from videonl.data.reading.shard_member import FetchedMember
from videonl.data.sources.labeled import read_source
from videonl.data.transforms import ClipFormat
from videonl.data.video import Video
from videonl.errors import UserError
from videonl.runtime.kept_files import KeptFiles

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
RESET = 0  # instead of a code: the connection is closed


class Bucket(http.server.SimpleHTTPRequestHandler):
    """Serves ranges of files with tags, as object storage does; fails at the requests whose numbers are given."""

    protocol_version = "HTTP/1.1"
    ranges: list[str]
    fails: Callable[[int], int | None]
    folder: str
    number = 0

    def do_HEAD(self) -> None:  # the base class's name
        self.answer(200, Path(self.translate_path(self.path)), b"")

    def do_GET(self) -> None:  # the base class's name
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        asked = self.headers.get("Range")
        type(self).number += 1
        code = type(self).fails(self.number)
        if code == RESET:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif code is not None:
            self.send_error(code)
        elif asked is None:
            self.answer(200, path, data)
        else:
            self.ranges.append(asked)
            first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            self.answer(206, path, data[first : last + 1])

    def answer(self, code: int, path: Path, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(data) or path.stat().st_size))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f"{path.stat().st_mtime_ns}")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def shards(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos in one shard."""
    folder = tmp_path_factory.mktemp("bucket")
    make_index(read_source(str(video_folder)), folder / "index.parquet", "packets")
    write_shards(folder / "index.parquet", folder / "shards")
    return folder / "shards"


@pytest.fixture
def url(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Bucket.ranges, Bucket.number, Bucket.fails = [], 0, staticmethod(lambda number: None)  # type: ignore[assignment]  # set again by tests
    monkeypatch.setattr(fetching, "_FIRST_WAIT_SECONDS", 0.001)

    Bucket.folder = str(shards.parent)

    def served(*args: Any) -> Bucket:
        return Bucket(*args, directory=Bucket.folder)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), served)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # connections that are reset are no surprise
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/shards"
    server.shutdown()
    server.server_close()
    thread.join()


def loaded(source: str, loader: str = "train", **options: Any) -> list[dict[str, Any]]:
    loading = Loading(**{"batch_size": 4, "num_workers": 0, **options})
    data = ClipDataModule(**{loader: source}, clip=CLIP, loading=loading, classes=["a", "b", "c"])
    data.setup(None)
    batches = list(data.train_dataloader() if loader == "train" else data.test_dataloader())
    assert not any(failure for batch in batches for failure in batch.get("failures", ()))
    return batches


def assert_same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert all(torch.equal(a["clip"], b["clip"]) for a, b in zip(one, other, strict=True))
    assert all(torch.equal(a["label"], b["label"]) for a, b in zip(one, other, strict=True))


def test_videos_that_are_files_of_their_own_are_fetched_ahead(url: str, video_folder: Path, tmp_path: Path) -> None:
    """Whole, also where one has grown since it was indexed."""
    served = tmp_path / "served"
    shutil.copytree(video_folder, served)
    make_index(read_source(str(served)), tmp_path / "served" / "index.parquet", "packets")
    local = loaded(str(served), "test")
    Bucket.folder = str(tmp_path)
    remote = url.replace("/shards", "/served")
    ahead = FetchAhead()
    videos = [Video(entry.path, 0) for entry in read_source(remote)]
    ahead.begin(videos)
    names = [str(video.path) for video in videos]
    assert [str(ahead.fetched(video).path) for video in videos] == names
    assert all(isinstance(ahead.fetched(video).path, FetchedMember) for video in videos)
    assert_same(loaded(remote, "test"), local)
    grown = sorted(served.glob("*/*.mp4"))[2]
    grown.write_bytes(grown.read_bytes() + b"\0" * 7)
    assert_same(loaded(remote, "test"), local)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_evaluation_fetches_each_video_once(shards: Path, url: str, num_workers: int) -> None:
    assert_same(loaded(str(shards), "test", num_workers=num_workers), loaded(url, "test", num_workers=num_workers))
    assert 1 < len(Bucket.ranges) < 7  # seven batches of one video: a worker asks for two at first, then for one more


def test_neighbors_in_a_shard_are_one_request(shards: Path, url: str) -> None:
    ahead = FetchAhead()
    videos = [Video(entry.path, 0) for entry in read_source(url)]
    ahead.begin(videos[:3], then=videos[3:])
    local = [entry.path for entry in read_source(str(shards))]
    assert [ahead.fetched(video).path.fetch() for video in videos] == [path.fetch() for path in local]  # type: ignore[union-attr]  # all are members
    assert len(Bucket.ranges) == 1


def test_a_batch_knows_the_next_one_of_its_worker() -> None:
    batches = list(Foreseen([[1], [2, 3], [4], [5]], num_workers=2))
    assert batches == [[1], [2, 3], [4], [5]]
    assert [list(pickle.loads(pickle.dumps(batch)).then) for batch in batches] == [[4], [5], [], []]


def test_the_trainer_finds_the_sampler_whose_epoch_it_sets(url: str) -> None:
    data = ClipDataModule(train=url, clip=CLIP, loading=Loading(batch_size=4, num_workers=0))
    loader = data.train_dataloader()
    _set_sampler_epoch(loader, 3)
    assert loader.state_dict()["epoch"] == 3


@pytest.mark.parametrize("code", [500, 503, 429, RESET])
def test_requests_that_fail_are_made_again(shards: Path, url: str, code: int) -> None:
    Bucket.fails = staticmethod(lambda number: None if number % 3 == 0 else code)  # type: ignore[assignment]  # see url
    assert_same(loaded(str(shards)), loaded(url))
    assert Bucket.number >= 6  # the index too


def test_what_lasts_is_not_asked_for_again(url: str) -> None:
    Bucket.fails = staticmethod(lambda number: 403)  # type: ignore[assignment]  # see url
    with pytest.raises(OSError, match="403"):
        fetch(f"{url}/index.parquet", 0, 7)
    assert Bucket.number == 1
    with pytest.raises(OSError, match=r"gone\.tar does not exist"):
        fetch(f"{url}/gone.tar", 0, 7)


def test_a_storage_that_goes_on_failing_is_named_with_the_number_of_tries(url: str) -> None:
    Bucket.fails = staticmethod(lambda number: 503)  # type: ignore[assignment]  # see url
    with pytest.raises(OSError, match=r"503.*gave up after 6 tries"):
        fetch(f"{url}/index.parquet", 0, 7)
    assert Bucket.number == 6


@pytest.mark.parametrize("num_workers", [0, 2])
def test_videos_are_kept_until_their_shard_changes(shards: Path, url: str, tmp_path: Path, num_workers: int) -> None:
    options = {"cache_gb": 1.0, "cache_folder": str(tmp_path / "kept"), "num_workers": num_workers}
    first = loaded(url, **options)
    assert Bucket.ranges and len(list((tmp_path / "kept").iterdir())) == 4
    Bucket.ranges.clear()
    assert_same(first, loaded(url, **options))
    assert not Bucket.ranges
    (shard,) = shards.glob("*.tar")
    os.utime(shard)
    assert_same(first, loaded(url, **options))
    assert Bucket.ranges and len(list((tmp_path / "kept").iterdir())) == 8


def test_a_damaged_copy_is_fetched_again(url: str, tmp_path: Path) -> None:
    options = {"cache_gb": 1.0, "cache_folder": str(tmp_path)}
    first = loaded(url, **options)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert_same(first, loaded(url, **options))


def test_what_a_run_does_not_use_gives_way(tmp_path: Path) -> None:
    """Room for three: those of an earlier run go, the oldest first; those of this run stay, and others find none."""
    earlier = KeptFiles(tmp_path, 3 * 27, replaces_older=True)
    for place, name in enumerate(("old", "older", "read")):
        earlier.write(name, name.encode().ljust(7))
        os.utime(tmp_path / name, (time.time() - 100 - place,) * 2)
    now = KeptFiles(tmp_path, 3 * 27, replaces_older=True)
    assert now.read("read") == b"read   "
    now.write("first", b"1234567")
    assert {path.name for path in tmp_path.iterdir()} == {"old", "read", "first"}
    now.write("second", b"1234567")
    now.write("third", b"1234567")
    assert {path.name for path in tmp_path.iterdir()} == {"read", "first", "second"}
    assert now.read("third") is None


def test_a_cache_of_no_room_is_refused() -> None:
    with pytest.raises(UserError, match="cache_gb must be at least 0, got -1"):
        Loading(cache_gb=-1)
