import functools
import gc
import http.server
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from videonl.data.augmentation import Augmentation
from videonl.data.datamodule import ClipDataModule
from videonl.data.indexing.examine import make_index
from videonl.data.indexing.index_file import read_index
from videonl.data.loader import Loading
from videonl.data.preparing.shards import write_shards
from videonl.data.reading import decoding
from videonl.data.reading import scan as scan_module
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.data.reading.shard_member import ShardMember
from videonl.data.sources.labeled import read_source
from videonl.data.transforms import ClipFormat
from videonl.data.video import Video
from videonl.errors import UserError
from videonl.inference.windows import TooShortError, require_room

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)


@pytest.fixture(scope="module")
def index(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the seven videos, those of class c for validation."""
    folder = tmp_path_factory.mktemp("index")
    paths = sorted(video_folder.glob("*/*.mp4"))
    rows = [f"{path},{path.parent.name},{'val' if path.parent.name == 'c' else 'train'}" for path in paths]
    (folder / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    make_index(read_source(str(folder / "list.csv")), folder / "index.parquet", "packets")
    return folder / "index.parquet"


@pytest.fixture(scope="module")
def shards(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(index, folder, shard_bytes=4000)
    return folder


@pytest.fixture
def bar_code(read_index: Callable[[torch.Tensor], int]) -> Callable[[torch.Tensor], int]:
    """The fixture ``read_index``, whose name here is the function's that reads an index."""
    return read_index


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves ranges of bytes, as object storage does, and remembers them."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:  # the base class's name
        self.asked.append((self.path, self.headers.get("Range")))
        data = Path(self.translate_path(self.path)).read_bytes()
        total = len(data)
        if self.headers.get("Range"):
            first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
            data = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def served(shards: Path) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The URL of the shards, and what was asked for."""
    RangeHandler.asked = []
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(RangeHandler, directory=str(shards.parent))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{shards.name}", RangeHandler.asked
    server.shutdown()
    server.server_close()
    thread.join()


def batches(train: str, num_workers: int = 0) -> list[dict[str, Any]]:
    data = ClipDataModule(
        train=train,
        clip=CLIP,
        augmentation=Augmentation(short_side_px=(23, 37)),
        loading=Loading(batch_size=2, num_workers=num_workers),
    )
    loader = data.train_dataloader()
    loader.set_epoch(1)
    return list(loader)


def by_clip(loaded: list[dict[str, Any]]) -> list[bytes]:
    return sorted(clip.numpy().tobytes() for batch in loaded for clip in batch["clip"])


def test_members_are_the_bytes_of_the_files(index: Path, shards: Path) -> None:
    records = read_index(shards / "index.parquet")
    originals = {record.content_hash: record for record in read_index(index)}
    assert len(records) == 7 and len({record.shard for record in records}) > 2
    for record in records:
        member = record.location(shards / "index.parquet")
        assert isinstance(member, ShardMember)
        original = originals[record.content_hash]
        assert member.fetch() == Path(str(original.location(index))).read_bytes()
        assert (record.label, record.split, record.num_frames) == (original.label, original.split, original.num_frames)
        assert record.shard.startswith(f"{record.split}-")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_any_reader_of_webdataset_reads_them(shards: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    records = read_index(shards / "index.parquet")
    urls = [str(shards / name) for name in dict.fromkeys(record.shard for record in records)]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    gc.collect()
    assert [json.loads(sample["json"])["label"] for sample in samples] == [record.label for record in records]
    assert [sample["mp4"] for sample in samples] == [
        r.location(shards / "index.parquet").fetch()
        for r in records  # type: ignore[union-attr]  # all are members
    ]


def test_same_videos_same_shards(index: Path, shards: Path, tmp_path: Path) -> None:
    write_shards(index, tmp_path, shard_bytes=4000)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in shards.iterdir())
    assert all((tmp_path / name).read_bytes() == (shards / name).read_bytes() for name in names if name.endswith("tar"))


def test_frames_by_index_out_of_a_shard(
    shards: Path, bar_code: Callable[[torch.Tensor], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = max(read_source(str(shards)), key=lambda entry: open_video(entry.path).num_frames)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_video(pickle.loads(pickle.dumps(longest.path))) as reader:
        assert reader.num_frames == 31
        assert [bar_code(frame) for frame in reader.read([30, 2, 17])] == [30, 2, 17]
        assert len(list(tmp_path.iterdir())) == (sys.platform != "linux")
    assert not list(tmp_path.iterdir())


_KILLED = """
import os, pickle, signal, sys
from videonl.data.reading.decoding import DECODERS, UserError, open_video
member = pickle.loads(bytes.fromhex(sys.argv[1]))
for decoder in DECODERS:
    try:
        reader = open_video(member, decoder)
    except UserError as error:
        assert "install" in str(error), error
        continue
    assert reader.read([0]).shape == (1, 46, 62, 3)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the copy has a name")
def test_a_killed_process_leaves_no_copy(shards: Path, tmp_path: Path) -> None:
    member = pickle.dumps(read_source(str(shards))[0].path).hex()
    ended = subprocess.run([sys.executable, "-c", _KILLED, member], env=os.environ | {"TMPDIR": str(tmp_path)})
    assert ended.returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


def padded(data: bytes, num_bytes: int) -> bytes:
    """The same video in a file of another size."""
    return data + (num_bytes - len(data)).to_bytes(4, "big") + b"free" + bytes(num_bytes - len(data) - 8)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere copies have names of their own")
def test_videos_of_one_size_are_not_taken_for_each_other(encode_video: Callable[..., Path], tmp_path: Path) -> None:
    """Their copies have one name after the other: frames and orientation are each video's own."""
    files = [encode_video(tmp_path / f"{turn}.mp4", num_frames=3, rotation=turn) for turn in (90, 180, 270)]
    files += [encode_video(tmp_path / f"{num}.mp4", num_frames=num) for num in (13, 17)]
    files.append(encode_video(tmp_path / "uneven.mp4", num_frames=3, times=(0, 5, 11)))
    seconds = set()
    for file in files:
        file.write_bytes(data := padded(file.read_bytes(), 4001))
        with open_video(ShardMember(str(file), 0, len(data), file.name)) as reader, open_video(file) as plain:
            assert torch.equal(reader.read([2, 0]), plain.read([2, 0]))
            assert reader.timestamps_seconds.tolist() == plain.timestamps_seconds.tolist()
            seconds.add(reader.path.stat().st_mtime_ns // 10**9)
    assert len(seconds) == len(files)  # by which their tables are kept apart, however fast one follows the other


def test_a_member_that_is_too_short_for_a_window_is_called_by_its_name(shards: Path) -> None:
    member = read_source(str(shards))[0].path
    with open_video(member) as reader:
        clip = ClipFormat(num_frames=reader.num_frames + 1, stride_frames=1)
        with pytest.raises(TooShortError, match=re.escape(f"{member} has {reader.num_frames} frames")):
            require_room(reader, clip)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_training_from_shards_and_from_a_url_sees_the_clips_it_would_from_any_place(
    shards: Path, served: tuple[str, list[tuple[str, str | None]]]
) -> None:
    url, asked = served
    local = batches(f"{shards}#train")
    for source, num_workers in ((f"{url}#train", 0), (f"{url}/index.parquet#train", 2)):
        remote = batches(source, num_workers)
        assert all(torch.equal(a["clip"], b["clip"]) for a, b in zip(local, remote, strict=True))
        assert all(torch.equal(a["label"], b["label"]) for a, b in zip(local, remote, strict=True))
    assert sum(len(batch["clip"]) for batch in local) == 4
    # Only the clips are fetched, never a shard.
    assert all(byte_range for path, byte_range in asked if path.endswith(".tar"))
    assert not any("val-" in path for path, _ in asked)


def test_what_cannot_be_fetched_is_named(shards: Path, tmp_path: Path) -> None:
    gone = ShardMember(str(tmp_path / "gone.tar"), 512, 7, "000001.mp4")
    with pytest.raises(DecodingError, match=r"gone\.tar/000001\.mp4: cannot be fetched"):
        open_video(gone)
    (tmp_path / "short.tar").write_bytes(b"x" * 600)
    with pytest.raises(DecodingError, match=r"cannot be fetched .*ends 7 bytes too early"):
        open_video(ShardMember(str(tmp_path / "short.tar"), 512, 95, "000001.mp4"))
    with pytest.raises(DecodingError, match=r"short\.tar/000001\.mp4: cannot be decoded"):
        open_video(ShardMember(str(tmp_path / "short.tar"), 512, 80, "000001.mp4"))


class VersionedStorage(fsspec.AbstractFileSystem):
    """Has the argument that s3fs has before the range."""

    protocol = "versioned"

    def cat_file(self, path: str, version_id: str | None = None, start: int = 0, end: int | None = None) -> bytes:
        assert (path, version_id) == ("bucket/train-000000.tar", None)
        return bytes(range(97))[start:end]


def test_storage_that_has_versions() -> None:
    fsspec.register_implementation("versioned", VersionedStorage, clobber=True)
    assert ShardMember("versioned://bucket/train-000000.tar", 13, 5, "x.mp4").fetch() == bytes(range(13, 18))


def test_folders_of_frames_are_not_packed(tmp_path: Path, write_frames: Callable[..., Path]) -> None:
    write_frames(tmp_path / "clips" / "a" / "one", 3)
    make_index(read_source(str(tmp_path / "clips")), tmp_path / "index.parquet", "packets")
    with pytest.raises(UserError, match=r"folders of frames\. Pack prepared videos"):
        write_shards(tmp_path / "index.parquet", tmp_path / "shards")


@pytest.mark.parametrize("kind", ["index", "shards"])
def test_readers_take_the_frames_that_an_index_lists(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = read_source(str(request.getfixturevalue(kind)))
    expected = [open_video(entry.path).read([0]) for entry in entries]
    monkeypatch.setattr(scan_module, "_kept", OrderedDict())
    for module in (scan_module, decoding):
        monkeypatch.setattr(module, "scan", lambda path: pytest.fail(f"listed the packets of {path}"))
    for entry, frames in zip(entries, expected, strict=True):
        with Video(entry.path, 0, entry.frame_table).open() as reader:
            assert torch.equal(reader.read([0]), frames)


def test_the_index_of_a_file_that_changed_since_is_not_believed(
    tmp_path: Path, encode_video: Callable[..., Path]
) -> None:
    path = encode_video(tmp_path / "videos" / "a" / "x.mp4", num_frames=13)
    make_index(read_source(str(tmp_path / "videos")), tmp_path / "index.parquet", "packets")
    encode_video(path, num_frames=31)
    (entry,) = read_source(str(tmp_path / "index.parquet"))
    with Video(entry.path, 0, entry.frame_table).open() as reader:
        assert reader.num_frames == 31


def test_shards_of_an_earlier_call_go_and_those_of_others_stay(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    write_shards(index, out, shard_bytes=4000)
    many = {path.name for path in out.glob("*.tar")}
    (out / "other-000000.tar").write_bytes(b"not ours")
    records = write_shards(index, out)
    assert len(many) > len({record.shard for record in records}) == 2
    assert {path.name for path in out.iterdir()} == {
        *("train-000000.tar", "val-000000.tar", "other-000000.tar", "index.parquet")
    }


def test_an_index_never_points_into_other_shards(
    index: Path, tmp_path: Path, files_at_most: Callable[[int], Any]
) -> None:
    write_shards(index, tmp_path, shard_bytes=4000)
    with files_at_most(4000), pytest.raises(UserError, match=r"\.tar cannot be written \(File too large\)"):
        write_shards(index, tmp_path)
    assert not (tmp_path / "index.parquet").exists()
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.glob("*.unfinished"))
