"""Commands on videos in a bucket: from there to a training, and what a user may get wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.cli.conftest import Ran
from videonl.data.indexing.index_file import IndexRow, read_index, write_index
from videonl.data.reading import fetching

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
    assert ran.code == 2 and "s3://no-such-bucket/out: cannot be written (The specified bucket" in ran.text
