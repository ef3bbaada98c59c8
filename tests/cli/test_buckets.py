"""Commands on videos in a bucket: from there to a training, and what a user may get wrong."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from tests.cli.conftest import Ran
from videonl.data.indexing.examine import make_index
from videonl.data.indexing.index_file import IndexRow, read_index, write_index
from videonl.data.indexing.journal import Journal
from videonl.data.reading import fetching
from videonl.data.reading.decoding import open_video
from videonl.data.reading.url_path import UrlPath
from videonl.data.sources.finding import VideosBelow
from videonl.data.sources.folders import read_folder

Videonl = Callable[..., Ran]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_from_a_bucket_to_a_training(
    videonl: Videonl, storage: Any, clips: Path, small_config: Path, tmp_path: Path
) -> None:
    storage.put(f"{clips}/", "clips/videos", recursive=True)
    index, prepared = tmp_path / "index.parquet", "s3://clips/prepared"
    ran = videonl("index", "s3://clips/videos", "-o", index, "--check", "packets", "--num-workers=2")
    assert ran.code == 0 and "31 videos: 31 ok" in ran.text
    words = ["prepare", index, prepared, "--shards", "--short-side-px", 32]
    ran = videonl(*words, "--num-workers=2")
    assert ran.code == 0
    assert "packed 31 videos into 3 shards in s3://clips/prepared" in ran.text
    assert "wrote s3://clips/prepared/index.parquet" in ran.text
    assert not list(tmp_path.glob("*prepare-*"))
    assert storage.ls("clips/prepared") == [
        f"clips/prepared/{name}"
        for name in (
            "index.parquet",
            "prepared.json",
            "report.json",
            "test-000000.tar",
            "train-000000.tar",
            "val-000000.tar",
        )
    ]
    sources = ["--data.train", f"{prepared}#train", "--data.val", f"{prepared}#val", "--data.test=null"]
    assert videonl("fit", "--config", small_config, *sources, "--run.dir", tmp_path / "run").code == 0

    elsewhere = tmp_path / "elsewhere"
    ran = videonl("prepare", index, elsewhere, "--short-side-px", 32, "--num-workers=2")
    assert ran.code == 0 and len(list(elsewhere.glob("*/*/*.mp4"))) == 31


def arrays_in(folder: Path) -> dict[str, Any]:
    return {path.name: np.load(path) for path in sorted(folder.glob("*.np[yz]"))}


@pytest.mark.slow
def test_commands_about_videos_read_them_from_a_bucket(
    videonl: Videonl, storage: Any, shallow: Path, video_folder: Path, tmp_path: Path
) -> None:
    """As from disk: a file, a part of one, a folder, and an index of URLs."""
    for path in video_folder.glob("b/*.mp4"):
        storage.put(str(path), f"clips/videos/b/{path.name}")
    url, clip = "s3://clips/videos/b", "clip_4.mp4"
    listed = [f"{url}/{path.name}" for path in sorted(video_folder.glob("b/*.mp4"))]
    write_index(tmp_path / "index.parquet", [IndexRow(name, "b") for name in listed])
    cases = {
        "folder": (url, video_folder / "b"),
        "index": (tmp_path / "index.parquet", video_folder / "b"),
        "part": (f"{url}/{clip}#t=0.1,0.9", f"{video_folder}/b/{clip}#t=0.1,0.9"),
    }
    here = ["--checkpoint", shallow, "--device", "cpu"]
    for name, sources in cases.items():
        outs = [tmp_path / f"{name}_{kind}" for kind in ("there", "here")]
        for source, out in zip(sources, outs, strict=True):
            ran = videonl("features", source, *here, "--out", out, "--time-limit", 0)
            assert ran.code == 0, ran.text
        found, expected = map(arrays_in, outs)
        assert found.keys() == expected.keys() and len(expected) == (1 if name == "part" else 3)
        assert all(np.array_equal(found[file], expected[file]) for file in expected)

    for name, video in (("there", f"{url}/{clip}"), ("here", video_folder / "b" / clip)):
        ran = videonl(
            "attention", "--video", video, "--checkpoint", shallow, "--out", tmp_path / name, "--film", "none"
        )
        assert ran.code == 0, ran.text
        outs = [word for suffix in ("json", "html", "mp4") for word in ("--out", tmp_path / f"{name}.{suffix}")]
        ran = videonl("timeline", video, *here, *outs)
        assert ran.code == 0, ran.text
    there, local = (next((tmp_path / name).glob("*.npz")) for name in ("there", "here"))
    with np.load(there) as found, np.load(local) as expected:
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    timelines = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("there", "here")]
    assert timelines[0].pop("video") == f"{url}/{clip}" and timelines[1].pop("video") == str(video_folder / "b" / clip)
    assert timelines[0] == timelines[1]
    assert "there_video.mp4" in (tmp_path / "there.html").read_text()  # a copy, which a browser can play
    for film in ("there_video.mp4", "there.mp4"):
        with open_video(tmp_path / film) as reader:
            assert reader.num_frames == 29


def test_what_has_no_name_is_counted(
    videonl: Videonl, storage: Any, video_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys with an empty part, and bytes under the key of a folder."""
    video = next(video_folder.glob("a/*.mp4")).read_bytes()
    for key in ("walk/a.mp4", "walk//b.mp4", "run/c.mp4", "/d.mp4"):
        storage.call_s3("put_object", Bucket="clips", Key=f"videos/{key}", Body=video)
    storage.call_s3("put_object", Bucket="clips", Key="videos/run/", Body=b"")  # as consoles make folders
    storage.call_s3("put_object", Bucket="clips", Key="videos/walk/", Body=video)
    for name in ("x.txt", "y.txt", "z.txt"):
        storage.call_s3("put_object", Bucket="clips", Key=f"videos/run/{name}", Body=b"x")
    ran = videonl("index", "s3://clips/videos", "-o", tmp_path / "index.parquet", "--check", "packets")
    assert ran.code == 0 and "2 videos: 2 ok" in ran.text
    assert "2 folders without a name" in ran.text and "1 file named as a folder" in ran.text
    assert "s3://clips/videos//, s3://clips/videos/walk/" in ran.text
    below = VideosBelow(UrlPath("s3://clips/videos")).by_stem
    assert {stem: [str(path) for path in paths] for stem, paths in below.items()} == {
        "a": ["s3://clips/videos/walk/a.mp4"],
        "c": ["s3://clips/videos/run/c.mp4"],
    }
    assert "left out 3 keys with an empty name, such as s3://clips/videos//" in caplog.text


@pytest.mark.slow
def test_workers_of_a_cluster_reach_the_bucket(
    videonl: Videonl, storage: Any, video_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="Dask is absent: pip install 'videonl[cluster]'")
    storage.put(f"{video_folder}/", "clips/videos", recursive=True)
    for name, words in (("one", ["--num-workers=1"]), ("several", ["--cluster", "local:2"])):
        (tmp_path / name).mkdir()
        out = tmp_path / name / "index.parquet"
        assert videonl("index", "s3://clips/videos", "-o", out, "--check", "packets", *words).code == 0
    assert read_index(tmp_path / "one") == read_index(tmp_path / "several")
    ran = videonl("prepare", out, "s3://clips/prepared", "--shards", "--short-side-px", 32, "--cluster", "local:2")
    assert ran.code == 0 and "packed 7 videos into 1 shards in s3://clips/prepared" in ran.text


@pytest.mark.slow
def test_a_storage_that_fails_now_and_then_loses_nothing(
    videonl: Videonl, storage: Any, video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every seventh request to the server fails, of listing, reading and writing."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication as Server

    storage.put(f"{video_folder}/", "clips/videos", recursive=True)
    local = make_index(read_folder(video_folder), tmp_path / "local.parquet", "packets")
    answer, numbers, failed = Server.__call__, itertools.count(), Counter[str]()

    def fails_at_times(server: Any, request: Any, start_response: Any) -> Any:
        if next(numbers) % 7 != 6:
            return answer(server, request, start_response)
        failed[request["REQUEST_METHOD"]] += 1
        start_response("503 Slow Down", [("Content-Length", "0")])
        return []

    monkeypatch.setattr(Server, "__call__", fails_at_times)
    index, prepared = tmp_path / "index.parquet", "s3://clips/prepared"
    ran = videonl("index", "s3://clips/videos", "-o", index, "--check", "packets", "--num-workers=2")
    assert ran.code == 0 and "7 videos: 7 ok" in ran.text
    rows = read_index(index)
    facts = [(row.name.rpartition("/")[2], row.label, row.num_frames, row.content_hash) for row in rows]
    assert facts == [(row.name.rpartition("/")[2], row.label, row.num_frames, row.content_hash) for row in local]
    ran = videonl("prepare", index, prepared, "--shards", "--short-side-px", 32, "--num-workers=2")
    assert ran.code == 0 and "packed 7 videos into 1 shards" in ran.text, ran.text
    made = read_index(prepared)
    assert {(row.label, row.num_frames, row.source_hash) for row in made} == {
        (row.label, row.num_frames, row.content_hash) for row in rows
    }
    for row in made:
        with open_video(row.location(prepared)) as reader:
            assert reader.read([reader.num_frames - 1]).shape[0] == 1 and reader.num_frames == row.num_frames
    assert failed["GET"] and failed["HEAD"] and failed.total() > 7


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning:distributed", "ignore::DeprecationWarning:distributed")
def test_an_index_over_a_cluster_resumes_after_a_kill(
    videonl: Videonl, encode_video: Callable[..., Path], tmp_path: Path
) -> None:
    """Only the rest is examined: files that were done are damaged in between, which nobody notices."""
    pytest.importorskip("distributed", reason="Dask is absent: pip install 'videonl[cluster]'")
    first = encode_video(tmp_path / "clips" / "a" / "0.mp4", num_frames=151)
    for number in range(1, 23):
        shutil.copy(first, first.with_name(f"{number}.mp4"))
    folder, out = first.parent.parent, tmp_path / "index.parquet"
    expected = make_index(read_folder(folder), tmp_path / "elsewhere" / "index.parquet")
    words = ["index", str(folder), "--out", str(out), "--cluster", "local:2"]
    command = [sys.executable, "-W", "ignore", "-m", "videonl", *words]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        journal = Journal.beside(out)
        until = time.monotonic() + 120
        while len(list(journal.read())) < 3:
            assert killed.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        killed.kill()
        killed.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
    done = {row.path for row in journal.read()}
    assert 3 <= len(done) < 23 and not out.exists()
    for path in map(Path, done):
        status = path.stat()
        path.write_bytes(b"x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    ran = videonl(*words)
    assert ran.code == 0 and "23 videos: 23 ok" in ran.text, ran.text
    assert [replace(row, path=Path(row.path).name) for row in read_index(out)] == [
        replace(row, path=Path(row.path).name) for row in expected
    ]


class Forbidden(fsspec.AbstractFileSystem):
    """Allows nothing."""

    protocol = "forbidden"

    def _refuse(self, path: str, *_: Any, **__: Any) -> Any:
        raise PermissionError(f"Access Denied: {path}")

    info = ls = cat_file = _open = _refuse


@pytest.fixture
def index(tmp_path: Path, video_folder: Path) -> Path:
    """Of one video, of which nothing is known."""
    write_index(tmp_path / "index.parquet", [IndexRow(str(next(video_folder.glob("a/*.mp4"))), "a")])
    (tmp_path / "one.csv").write_text("gone.mp4,a\n")
    return tmp_path / "index.parquet"


def test_mistakes(videonl: Videonl, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each, with code 2."""
    fsspec.register_implementation("forbidden", Forbidden, clobber=True)
    message = "Install s3fs to access S3"
    fsspec.register_implementation("absent", "no_such_package.Storage", clobber=True, errtxt=message)
    monkeypatch.setattr(fetching, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.chdir(tmp_path)
    words = {
        ("index", "forbidden://b/videos"): "Access Denied: b/videos/index.parquet; the storage asks for credentials",
        ("index", "absent://b/videos"): "Install s3fs to access S3: pip install 'videonl[shards]'",
        (
            "index",
            "nothing://b/videos",
        ): "videos/index.parquet: cannot be read (Protocol not known: nothing",
        ("index", "one.csv", "-o", "s3://b/index.parquet"): "is a URL, but this is written to disk; name a file here",
        ("prepare", index, "s3://b/prepared"): "s3://b/prepared: only shards are written to a URL. Add --shards",
        ("prepare", index, "out", "--work", "work"): "--work is for an output at a URL. Remove it",
        ("prepare", index, "forbidden://b/prepared", "--shards"): "forbidden://b/prepared: cannot be written (Access",
        (
            "prepare",
            index,
            "https://127.0.0.1:9/b",
            "--shards",
        ): "127.0.0.1:9/b: cannot be written (Cannot",
        (
            "prepare",
            index,
            "memory://b/prepared",
            "--shards",
            "--work",
            "s3://b/work",
        ): "s3://b/work is a URL",
        ("prepare", index, "memory://b/prepared", "--shards", "--work", "."): ".: is not empty, and is not of an",
        ("prepare", index, "s3://", "--shards"): "s3:// names no bucket or host",
        ("index", "s3://"): "s3:// names no bucket or host",
        ("index", "S3://b/videos"): "S3://b/videos: storages are called in small letters. Write s3://b/videos",
        ("index", "s3:/b/videos"): "s3:/b/videos: there is no such folder, and a URL has two slashes. Write s3://b/",
        ("prepare", index, "s3:/b/prepared", "--shards"): "a URL has two slashes. Write s3://b/prepared",
        ("doctor", "S3://b/index.parquet"): "storages are called in small letters. Write s3://b/index.parquet",
        ("bench", "windows", "s3://b/a.mp4"): "s3://b/a.mp4: reading from disk is timed here; name a whole file of",
        ("features", "s3:/b/a.mp4", "--checkpoint", "x"): "a URL has two slashes. Write s3://b/a.mp4",
        ("doctor", index, "--out", "s3://b/doctor.json"): "s3://b/doctor.json is a URL, but this is written to disk",
        ("prepare", "forbidden://b", "out"): "forbidden://b: cannot be read as an index (Access Denied",
    }
    for command, message in words.items():
        ran = videonl(*command)
        assert (ran.code, "Traceback" in ran.text) == (2, False)
        assert message in ran.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.parquet", "one.csv"]


def test_mistakes_with_s3(
    videonl: Videonl, index: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    ran = videonl("index", "s3://clips/videos")
    assert ran.code == 2
    assert "Unable to locate credentials; the storage asks for credentials that allow this: see docs" in ran.text
    request.getfixturevalue("storage")
    ran = videonl("index", "s3://no-such-bucket/videos")
    assert ran.code == 2 and "s3://no-such-bucket/videos: cannot be listed (The specified bucket" in ran.text
    ran = videonl("index", "s3://clips/none")
    assert ran.code == 2 and "s3://clips/none: no class folders in it" in ran.text
    ran = videonl("prepare", index, "s3://no-such-bucket/out", "--shards")
    assert ran.code == 2 and "s3://no-such-bucket/out: there is no such bucket (The specified bucket" in ran.text
    assert "What is done is kept" not in ran.text and not list(index.parent.glob(".*prepare*"))


def test_the_folder_for_work_is_kept_apart_from_the_source(
    videonl: Videonl, memory: Any, video_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(video_folder, folder)
    assert videonl("index", folder, "-o", folder / "index.parquet", "--check", "packets").code == 0
    for work in (folder / "a" / "work", folder / "work"):
        ran = videonl("prepare", folder / "index.parquet", "memory://b/out", "--shards", "--work", work)
        assert ran.code == 2 and "would mix with the source videos" in ran.text
    assert not (folder / "work").exists() and not (folder / "a" / "work").exists()
    assert {entry.label for entry in read_folder(folder)} == {"a", "b", "c"}
