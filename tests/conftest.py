"""Small real video files, made on the spot, whose frames say which frame they are."""

import gc
import getpass
import os
import resource
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.small_weights import small_weights
from videonl.runtime import parallel

gc.disable()  # what modules make while they are collected stays, and to look through it again and again takes seconds
# Tests start a hundred processes, and each would compile anew what it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

NUM_BITS = 8
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
SHARED = Path(__file__).resolve().parents[2] / "shared"


def frame_with_index(index: int, height: int, width: int) -> NDArray[np.uint8]:
    """A frame of upright bars, white for 1 and black for 0: the index in binary, highest bit left."""
    bits = [(index >> (NUM_BITS - 1 - bit)) & 1 for bit in range(NUM_BITS)]
    row = np.array(bits, dtype=np.uint8)[np.arange(width) * NUM_BITS // width] * 255
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def index_of_frame(frame: torch.Tensor) -> int:
    """Read the index back from ``(H, W, 3)``, at any size."""
    row = frame.float().mean(dim=(0, 2))
    centers = [(2 * bit + 1) * len(row) // (2 * NUM_BITS) for bit in range(NUM_BITS)]
    return sum(int(row[center] > 127) << (NUM_BITS - 1 - bit) for bit, center in enumerate(centers))


def indices_of_clip(clip: torch.Tensor) -> list[int]:
    """Read the indices back from a clip ``(C, T, H, W)`` that shows whole frames."""
    return [index_of_frame(frame) for frame in clip.permute(1, 2, 3, 0)]


def _encode_video(
    path: Path,
    num_frames: int = 19,
    height: int = 46,
    width: int = 62,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    times: Sequence[int] | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options or {})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.thread_count = 1
        if times is not None:  # in hundredths of a second
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(frame_with_index(index, height, width), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pytest_collection_finish() -> None:
    """What is loaded now stays until the end: from here on it is no work for the garbage collector."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Native modules look for leaks at the end."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def wide() -> Iterator[None]:
    """Lines so long that rich breaks no path in two; from the first command on, whose log keeps its width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "400")
        yield


@pytest.fixture(scope="session", autouse=True)
def own_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What libraries and killed processes leave among temporary files goes with the tests."""
    tmp_path_factory.getbasetemp()  # which stays where it was, for whoever looks at it afterwards
    compiled = os.environ.get("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor_{getpass.getuser()}")
    folder = tempfile.mkdtemp(prefix="videonl-")  # a short name: those of sockets in it may have a hundred characters
    # At the end of the process, when multiprocessing has removed what is its own (at -100).
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", compiled)  # one for all runs of the tests
        yield


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Nobody cuts the power here: files flushed to a disk are a third of the time that commands take in tests.

    Other processes flush for real, and test_files.py sees that this one asks for it, and when.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_server() -> Iterator[None]:
    """The server that forks workers begins with all that workers of tests import, whichever test is the first.

    It lasts as long as the process. Else each worker imports for itself what the test's own module begins with, most
    often Lightning, for seconds.
    """
    start = parallel._start_server
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "_start_server", lambda modules: start(("pytest", "videonl.training")))
        yield


@pytest.fixture
def encode_video() -> Callable[..., Path]:
    """``encode_video(path, num_frames=, height=, width=, ...)`` writes a video and returns its path.

    Frame i shows i as a bar code; read it with the fixture ``read_index``.
    """
    return _encode_video


@pytest.fixture
def read_index() -> Callable[[torch.Tensor], int]:
    """Which frame a decoded ``(H, W, 3)`` frame is."""
    return index_of_frame


@pytest.fixture
def read_indices() -> Callable[[torch.Tensor], list[int]]:
    """Which frames a clip ``(C, T, H, W)`` of whole frames is made of."""
    return indices_of_clip


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven small videos in three class folders, 13 to 31 frames long."""
    folder = tmp_path_factory.mktemp("videos")
    for number, (name, num_frames) in enumerate(zip("aabbbcc", (13, 17, 19, 23, 29, 31, 1), strict=True)):
        _encode_video(folder / name / f"clip_{number}.mp4", num_frames=num_frames)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the weights of a small network."""
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    small_weights().save(path)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, once as playwright runs once in a process; skips where it or playwright is absent."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is absent: pip install 'videonl[dev]'")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("Chromium is absent; on Debian and Ubuntu: apt-get install chromium")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def shared_clips() -> Path:
    """The folder ``../shared/clips`` of real videos; skips where it is absent."""
    if not (SHARED / "clips").is_dir():
        pytest.skip(f"{SHARED / 'clips'} is absent")
    return SHARED / "clips"


@pytest.fixture
def files_at_most() -> Callable[[int], AbstractContextManager[None]]:
    """While it holds, writing more bytes than that to a file fails, as on a full disk."""

    @contextmanager
    def limited(num_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A server on this machine that speaks S3, without credentials for it."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is absent: pip install 'videonl[shards]'")
    pytest.importorskip("moto", reason="moto is absent: pip install moto flask flask-cors")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()  # servers of one process share all
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"http://{host}:{port}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def storage(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """S3 on this machine with an empty bucket ``clips``; credentials are in the environment."""
    import s3fs

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    file_system = s3fs.S3FileSystem()
    file_system.mkdir("clips")
    return file_system


@pytest.fixture
def memory() -> Any:
    """fsspec's storage in memory, empty."""
    storage = fsspec.filesystem("memory")
    storage.store.clear()
    storage.pseudo_dirs[:] = [""]
    return storage
