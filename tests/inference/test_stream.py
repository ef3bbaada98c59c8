"""Streams: real pipes, servers and growing files, and the newest clip of each."""

import http.server
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import videonl
from tests.small_weights import small_weights
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.data.reading.live import find_source
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.inference import Model
from videonl.inference.capture import Counts, Handover, StreamClock
from videonl.inference.rolling import LiveFrame, RollingClip

SPAN = 9  # frames that a clip of the test's network reaches over: 5, two apart
FPS = 24


@pytest.fixture(scope="module")
def model(weights: Path) -> Model:
    return videonl.load(weights, device="cpu")


@pytest.fixture(scope="module")
def transport(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MPEG transport stream of 43 frames, each of another look."""
    from tests.conftest import _encode_video

    return _encode_video(tmp_path_factory.mktemp("stream") / "clip.ts", num_frames=43, options={"g": "7"})


def frames_of(path: Path) -> torch.Tensor:
    with open_video(path) as reader:
        return reader.read(range(reader.num_frames))


@contextmanager
def ended_threads() -> Iterator[None]:
    """Within it every thread that captures must end."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "videonl-capture"]


def test_a_file_that_waits_gives_what_predict_gives_to_the_bit(model: Model, transport: Path) -> None:
    frames = frames_of(transport)
    with ended_threads():
        found = list(model.stream(transport, 0.25, realtime=False))
    ends = list(range(SPAN - 1, 43, 6))  # 0.25 s are 6 frames
    assert [prediction.frames for prediction in found] == [tuple(range(end - SPAN + 1, end + 1, 2)) for end in ends]
    for prediction, end in zip(found, ends, strict=True):
        expected = model.predict(frames[end - SPAN + 1 : end + 1], num_clips=1, num_crops=1)
        assert torch.equal(prediction.logits, expected.logits)
        assert prediction.label == expected.label
        assert prediction.time_seconds == pytest.approx(end / FPS, abs=1e-4)
        assert prediction.latency_seconds > 0
    assert found[-1].counts == Counts(frames=found[-1].counts.frames)


def test_clips_in_seconds_follow_the_timestamps(transport: Path, tmp_path: Path) -> None:
    small_weights(stride_seconds=0.125).save(tmp_path / "in_seconds.pt")
    model = videonl.load(tmp_path / "in_seconds.pt", device="cpu")
    frames = frames_of(transport)
    found = list(model.stream(transport, 0.25, realtime=False))
    assert [prediction.frames for prediction in found] == [
        tuple(range(end - 12, end + 1, 3)) for end in range(12, 43, 6)
    ]
    expected = model.predict(frames[6:19], fps=FPS, num_clips=1, num_crops=1)
    assert torch.equal(found[1].logits, expected.logits)


def test_partial_clips_begin_with_the_first_frame(model: Model, transport: Path) -> None:
    found = list(model.stream(transport, 0.25, realtime=False, partial=True))
    assert [prediction.frames for prediction in found[:3]] == [(0,) * 5, (0, 0, 2, 4, 6), (4, 6, 8, 10, 12)]


def test_a_slow_network_drops_and_counts(model: Model, transport: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = model.recognizer.logits

    def slow(views: torch.Tensor) -> torch.Tensor:
        time.sleep(0.5)
        return fast(views)

    monkeypatch.setattr(model.recognizer, "logits", slow)
    began = time.monotonic()
    with model.stream(transport, 0.125) as stream, ended_threads():
        found = []
        for prediction in stream:
            found.append(prediction)
            assert len(stream._capture._rolling) <= SPAN
    assert time.monotonic() - began > 42 / FPS  # it was read in real time
    counts = stream.counts
    due = len(range(SPAN - 1, 43, 3))
    assert counts.skipped_clips == due - len(found) > 0
    wanted = {frame for end in range(SPAN - 1, 43, 3) for frame in range(end - SPAN + 1, end + 1, 2)}
    seen = {frame for prediction in found for frame in prediction.frames}
    assert counts.dropped_frames == len(wanted - seen) > 0
    assert found[-1].frames[-1] > 30  # the newest, not the next


def frame(number: int, seconds: float) -> LiveFrame:
    return LiveFrame(number, seconds, 0.0, torch.zeros(1))


def test_the_newest_clip_takes_the_place_of_the_one_before() -> None:
    handover = Handover()
    for first in (0, 3, 6):
        handover.put(tuple(frame(number, 0.0) for number in (first, first + 2, first + 4)), waits=False)
    taken = handover.take()
    assert taken is not None
    assert [each.number for each in taken] == [6, 8, 10]
    assert handover.counts == Counts(dropped_frames=5, skipped_clips=2)  # 0 2 4, 3 5; 7 might still be had
    handover.put(tuple(frame(number, 0.0) for number in (8, 10, 12)), waits=False)
    assert handover.counts.dropped_frames == 6
    handover.end()
    assert handover.take() is not None
    assert handover.take() is None
    assert handover.counts == Counts(dropped_frames=6, skipped_clips=2)


def test_frames_kept_do_not_grow_with_time() -> None:
    for clip in (ClipFormat(5, 3), ClipFormat(5, stride_seconds=0.1)):
        rolling = RollingClip(clip, 0.2)
        most = 0
        for number in range(500):
            rolling.add(frame(number, number / 30))
            most = max(most, len(rolling))
        assert most == 13


def test_the_clock_never_falls() -> None:
    clock = StreamClock()
    assert clock.read(7.0) == (0.0, False)
    assert clock.read(7.5) == (0.5, False)
    seconds, is_gap = clock.read(2.0)
    assert is_gap
    assert 0.5 <= seconds < 1.5
    assert clock.read(2.25) == (pytest.approx(seconds + 0.25), False)
    clock.reconnect()
    after, is_gap = clock.read(90.0)
    assert is_gap
    assert seconds + 0.25 <= after < seconds + 1.5


WRITER = """
import sys, time
import av, numpy
options = {"flush_packets": "1"} if sys.argv[3] == "mpegts" else {"rtsp_transport": "tcp"}
with av.open(sys.argv[1], "w", format=sys.argv[3], options=options) as container:
    stream = container.add_stream("libx264", rate=24, options={"g": "5", "tune": "zerolatency"})
    stream.height, stream.width, stream.pix_fmt = 46, 62, "yuv420p"
    for index in range(int(sys.argv[2])):
        picture = numpy.full((46, 62, 3), 5 * index % 256, numpy.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        time.sleep(1 / 48)
    container.mux(stream.encode(None))
"""


@contextmanager
def writing(target: Path | str, num_frames: int, format: str = "mpegts") -> Iterator[subprocess.Popen[bytes]]:
    """A process that encodes a stream frame by frame."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target), str(num_frames), format])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_named_pipe_is_read_to_its_end(model: Model, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with writing(pipe, 43), ended_threads():
        found = list(model.stream(pipe, 0.5))
    assert found[-1].counts.frames >= 33
    assert all(later.time_seconds > earlier.time_seconds for earlier, later in itertools.pairwise(found))
    assert {len(prediction.frames) for prediction in found} == {5}


def test_a_pipe_that_nobody_writes_has_a_time_limit(model: Model, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ended_threads(), pytest.raises(DecodingError, match=r"pipe: gave nothing for 0\.3 s"):
        next(model.stream(tmp_path / "pipe", time_limit_seconds=0.3))


def test_closing_early_releases_the_source(model: Model, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    stream = model.stream(tmp_path / "pipe", time_limit_seconds=None)
    with writing(tmp_path / "pipe", 10**6) as process:
        next(stream)
        with ended_threads():
            stream.close()
        assert list(stream) == []
        process.wait(60)  # nobody reads any more
    assert process.returncode != 0


def test_a_growing_file_is_followed_until_it_grows_no_more(model: Model, tmp_path: Path) -> None:
    growing = tmp_path / "growing.ts"
    growing.touch()
    with writing(growing, 43) as process, ended_threads():
        with closing(model.stream(growing, 0.25, follow=True, time_limit_seconds=None)) as stream:
            first, *_ = frames = next(stream).frames  # frames are dropped where the machine is busy
        assert frames == tuple(range(first, first + 9, 2))
        assert process.poll() is None  # it is still being written
        process.wait()
    with ended_threads():
        frames = list(model.stream(growing, 0.25, follow=True, realtime=False, time_limit_seconds=0.3))
    assert frames[-1].frames[-1] == 38


@pytest.mark.slow
def test_an_rtsp_session(model: Model) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"rtsp://127.0.0.1:{free.getsockname()[1]}/live"
    options = {"rtsp_flags": "listen", "listen_timeout": "60"}  # as a server would, FFmpeg waits for who sends
    with model.stream(address, 0.25, reconnect=False, options=options) as stream:
        time.sleep(1)  # until it listens
        with writing(address, 96, "rtsp"):
            found = list(stream)
    assert len(found) >= 5
    assert all(later.time_seconds > earlier.time_seconds for earlier, later in itertools.pairwise(found))


class Server(http.server.ThreadingHTTPServer):
    """Serves one file; ``faults`` says of each answer after how many bytes it breaks or stalls."""

    def __init__(self, content: bytes, faults: list[tuple[str, int]]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.faults, self.num_asked = content, faults, 0
        self.is_over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.server_port}/clip.ts"


class Answer(http.server.BaseHTTPRequestHandler):
    """Without ranges, as of a camera."""

    server: Server

    def do_GET(self) -> None:  # http.server's name
        fault, after = self.server.faults.pop(0) if self.server.faults else ("", len(self.server.content))
        self.server.num_asked += 1
        if fault == "refuse":
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content[:after])
        self.wfile.flush()
        if fault == "stall":
            self.server.is_over.wait(20)
        elif fault == "break":
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def serve(transport: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*faults: tuple[str, int]) -> Server:
        server = Server(transport.read_bytes(), list(faults))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.is_over.set()
        server.shutdown()
        server.server_close()


def test_an_address_is_read_to_its_end_and_its_password_stays_hidden(model: Model, serve: Any) -> None:
    server = serve()
    with ended_threads():
        found = list(model.stream(server.address, 0.25, realtime=False))
    assert [prediction.frames[-1] for prediction in found] == list(range(SPAN - 1, 43, 6))
    assert found[0].video == f"http://***@127.0.0.1:{server.server_port}/clip.ts"


@pytest.mark.parametrize("fault", ["break", "stall"])
def test_a_lost_connection_is_opened_again(
    model: Model, serve: Any, transport: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    half = transport.stat().st_size * 3 // 4
    server = serve((fault, half), ("refuse", 0))
    with ended_threads(), caplog.at_level("WARNING", "videonl"):
        found = list(model.stream(server.address, 0.25, realtime=False, time_limit_seconds=1))
    assert found[-1].counts.reconnects == 1
    assert server.num_asked >= 3
    own = [record for record in caplog.records if record.name.startswith("videonl")]  # torchvision 0.21 lets FFmpeg log
    assert [record.message.rpartition(" in ")[2] for record in own] == ["1 s", "2 s"]
    assert "secret" not in caplog.text


def test_without_reconnecting_a_fault_is_an_error(model: Model, serve: Any, transport: Path) -> None:
    half = transport.stat().st_size * 3 // 4
    server = serve(("stall", half))
    with ended_threads(), pytest.raises(DecodingError, match=r"clip\.ts: gave nothing for 1 s"):
        list(model.stream(server.address, reconnect=False, time_limit_seconds=1))
    with ended_threads(), pytest.raises(DecodingError, match="cannot be read"):
        list(model.stream(serve(("refuse", 0)).address))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (93, "camera 93 is not there: no /dev/video93"),
        ("/dev/video93", "is not there"),
        ("gopher://a/b", "cannot read a stream from gopher://"),
        ("gone.ts", "gone.ts: cannot be read"),
        (Path(__file__).parent, "is no file, pipe or camera"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="cameras have other names elsewhere")
def test_sources_that_are_not_there(model: Model, source: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.stream(source)


def test_what_streams_refuse(model: Model, transport: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"stride_seconds": 0}, "stride_seconds must be at least"),
        ({"time_limit_seconds": 0}, "time_limit_seconds must be at least"),
    ):
        with pytest.raises(UserError, match=message):
            model.stream(transport, **options)  # type: ignore[arg-type]  # a dictionary tells no types
    with pytest.raises(UserError, match="does not wait"):
        model.stream("rtsp://127.0.0.1/a", realtime=False)
    with pytest.raises(UserError, match="still being written"):
        model.stream("rtsp://127.0.0.1/a", follow=True)
    (tmp_path / "text.ts").write_text("no video" * 99)
    with pytest.raises(DecodingError, match=r"text\.ts"):
        next(model.stream(tmp_path / "text.ts"))
    assert find_source("rtsp://u:p@h/x").name == "rtsp://***@h/x"
