import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from tests.inference.conftest import textured
from videonl.data.reading.decoding import VideoReader, open_video
from videonl.data.reading.pyav_reader import PyAVReader
from videonl.data.reading.scan import scan
from videonl.data.reading.video_reader import DecodingError, with_recount
from videonl.data.transforms import ClipFormat, TenCrops, Views, ViewTransform
from videonl.errors import UserError
from videonl.inference import Recognizer
from videonl.inference.sliding import scored, views_of
from videonl.inference.windows import Windows
from videonl.models import ClipClassifier

Encode = Callable[..., Path]
CLIP = ClipFormat(num_frames=5, stride_frames=3, short_side_px=37, crop_px=31)
IN_TIME = replace(CLIP, stride_seconds=0.11)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return textured(tmp_path_factory.mktemp("windows") / "video.mp4")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    torch.manual_seed(5)
    return Recognizer(ClipClassifier("i3d_r50", num_classes=7, width=8).eval(), CLIP)


def alone(reader: VideoReader, frames: tuple[int, ...], transform: ViewTransform) -> torch.Tensor:
    """The views of one window, read by itself."""
    return transform(reader.read(frames).permute(0, 3, 1, 2), [range(len(frames))])


def starts_of(windows: Windows) -> list[int]:
    return [window.first_frame for window in windows]


@pytest.mark.parametrize("num_crops", [1, 3])
@pytest.mark.parametrize("clip", [CLIP, IN_TIME])
def test_scores_are_those_of_each_window_alone_to_the_bit(
    video: Path, recognizer: Recognizer, clip: ClipFormat, num_crops: int
) -> None:
    with open_video(video) as reader:
        windows = Windows.every_seconds(reader, clip, 0.3, num_crops)
        results = list(scored(recognizer, windows))
        assert [window for window, _ in results] == list(windows)
        for window, logits in results:
            views = alone(reader, window.frames, ViewTransform(clip, Views(num_crops=num_crops)))
            assert torch.equal(logits, recognizer.logits(views))


def test_in_batches_scores_are_the_same_up_to_rounding(video: Path, recognizer: Recognizer) -> None:
    with open_video(video) as reader:
        windows = Windows.every_frames(reader, CLIP, stride_frames=7)
        one, four = (dict(scored(recognizer, windows, batch_size=size)) for size in (1, 4))
        assert list(four) == list(windows)
        for window, logits in four.items():
            torch.testing.assert_close(logits, one[window], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(61, 83), (83, 63), (37, 37)])
def test_views_are_those_of_the_transform(tmp_path: Path, size: tuple[int, int]) -> None:
    with open_video(textured(tmp_path / "a.mp4", num_frames=29, size=size)) as reader:
        for ten_crops, transform in ((False, ViewTransform(CLIP, Views())), (True, TenCrops(CLIP))):
            for window, views in views_of(Windows.every_frames(reader, CLIP, 4, ten_crops=ten_crops)):
                expected = alone(reader, window.frames, transform)
                assert torch.equal(views, expected)
                assert views.stride() == expected.stride()


def test_turned_videos(tmp_path: Path, encode_video: Encode) -> None:
    with open_video(encode_video(tmp_path / "a.mp4", num_frames=29, rotation=90)) as reader:
        for window, views in views_of(Windows.every_frames(reader, CLIP, 4, num_crops=3)):
            assert torch.equal(views, alone(reader, window.frames, ViewTransform(CLIP, Views(num_crops=3))))


@pytest.mark.parametrize("size", [(37, 53), (59, 37), (37, 38)])
def test_ten_crops_are_torchvisions(size: tuple[int, int]) -> None:
    frames = torch.randint(256, (3, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    (*crops,) = TenCrops(CLIP)(frames, [range(3)])
    for crop, expected in zip(crops, v2.TenCrop(31)(frames), strict=True):
        assert torch.equal(crop, expected.transpose(0, 1))  # (C, T, H, W)


def test_every_frame_is_decoded_and_resized_once_and_kept_no_longer_than_needed(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    cuts = ViewTransform.cuts
    monkeypatch.setattr(ViewTransform, "cuts", lambda *args: cut.append(len(args[1])) or cuts(*args))
    with open_video(video) as reader:
        windows = Windows.every_frames(reader, CLIP, stride_frames=1)
        passed = views_of(windows)
        for window, _ in passed:
            kept = passed.gi_frame.f_locals["kept"]
            assert window.first_frame <= min(kept)
            assert len(kept) <= 13  # what a clip reaches over
        assert cut == [1] * reader.num_frames


@pytest.mark.parametrize(
    ("num_frames", "stride_seconds", "expected"),
    # A window reaches over 13 frames, 25 a second.
    [
        (59, 0.4, [0, 10, 20, 30, 40, 46]),
        (53, 0.4, [0, 10, 20, 30, 40]),
        (13, 0.4, [0]),
        (14, 0.4, [0, 1]),
        (15, 0.01, [0, 1, 2]),
        (59, 100, [0, 46]),
    ],
)
def test_windows_at_even_times(
    tmp_path: Path, encode_video: Encode, num_frames: int, stride_seconds: float, expected: list[int]
) -> None:
    path = textured(tmp_path / "a.mp4", num_frames)
    with open_video(path) as reader:
        windows = Windows.every_seconds(reader, CLIP, stride_seconds)
        assert starts_of(windows) == expected
        assert windows[-1].last_frame == num_frames - 1
        first = windows[0]
        assert first.frames == (0, 3, 6, 9, 12)
        assert [window.number for window in windows] == list(range(len(expected)))
        times = (first.start_seconds, first.center_seconds, first.end_seconds)
        np.testing.assert_allclose(times, (0, 0.26, 0.52), atol=1e-9)  # the last frame is on screen for a period
        assert windows[-1].end_seconds == pytest.approx(num_frames / 25, abs=1e-9)


def test_windows_in_time_of_uneven_frames(tmp_path: Path) -> None:
    with open_video(textured(tmp_path / "a.mp4", vfr=True)) as reader:
        timestamps = reader.timestamps_seconds.tolist()
        windows = Windows.every_seconds(reader, IN_TIME, 0.3)
        for window in windows:
            wanted = [timestamps[window.first_frame] + step * 0.11 for step in range(5)]
            on_screen = [max(i for i, shown in enumerate(timestamps) if shown <= time + 1e-6) for time in wanted]
            assert list(window.frames) == on_screen
            assert window.start_seconds == timestamps[window.first_frame]
        assert windows[-1].last_frame == reader.num_frames - 1
        reaches = [window.last_frame < reader.num_frames - 1 for window in windows[:-1]]
        assert all(reaches)


@pytest.mark.parametrize(
    ("num_frames", "stride", "last", "expected"),
    [
        (59, 8, "drop", [0, 8, 16, 24, 32, 40]),
        (59, 8, "repeat", [0, 8, 16, 24, 32, 40, 48]),
        (53, 8, "repeat", [0, 8, 16, 24, 32, 40]),  # the last one ends at the last frame
        (7, 8, "repeat", [0]),
        (14, 50, "repeat", [0]),
        (14, 13, "repeat", [0, 13]),
    ],
)
def test_windows_at_even_frames(tmp_path: Path, num_frames: int, stride: int, last: str, expected: list[int]) -> None:
    with open_video(textured(tmp_path / "a.mp4", num_frames)) as reader:
        windows = Windows.every_frames(reader, CLIP, stride, last)  # type: ignore[arg-type]  # a text of pytest's
        assert starts_of(windows) == expected
        end = [min(expected[-1] + step * 3, num_frames - 1) for step in range(5)]
        assert windows[-1].frames == tuple(end)


def test_centered_windows_repeat_both_edges(video: Path) -> None:
    with open_video(video) as reader:
        windows = Windows.centered(reader, CLIP, stride_frames=4)
        assert len(windows) == 15
        assert windows[0].frames == (0, 0, 0, 3, 6)
        assert windows[3].frames == (6, 9, 12, 15, 18)
        assert windows[14].frames == (50, 53, 56, 58, 58)
        assert windows[3].center_seconds == pytest.approx(12 / 25)
        assert Windows.centered(reader, IN_TIME, 4)[0].frames == (0, 0, 0, 2, 5)
        assert [len(views) for _, views in views_of(windows)] == [1] * 15


def test_what_makes_no_windows_is_refused(tmp_path: Path, video: Path) -> None:
    with open_video(textured(tmp_path / "short.mp4", num_frames=11)) as reader:
        with pytest.raises(UserError, match=r"short\.mp4 has 11 frames \(0\.44 s\), and a window reaches over 13"):
            Windows.every_seconds(reader, CLIP, 1)
        with pytest.raises(UserError, match="is too short for one window"):
            Windows.every_frames(reader, CLIP, 1, "drop")
        with pytest.raises(UserError, match=r"a window reaches over 0\.44 s \(5 frames x stride 0\.11 s"):
            Windows.every_seconds(reader, IN_TIME, 1)
        with pytest.raises(UserError, match="no windows of clips by uniform sampling"):
            Windows.every_frames(reader, replace(CLIP, sampling="uniform"), 1)
        for stride in (0.0, float("nan"), -1.0):
            with pytest.raises(UserError, match="stride_seconds must be at least"):
                Windows.every_seconds(reader, CLIP, stride)
        for starts in ([3, 2], [-1], [11]):
            with pytest.raises(ValueError, match="windows must"):
                Windows(reader, CLIP, starts)


def test_errors_in_the_thread_arrive_and_closing_early_ends_it(
    video: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_video(video) as reader:
        results = scored(recognizer, Windows.every_frames(reader, CLIP, 2))
        next(results)
        assert any(thread.name == "videonl-ahead" for thread in threading.enumerate())
        results.close()  # type: ignore[attr-defined]  # of a generator
        assert not any(thread.name == "videonl-ahead" for thread in threading.enumerate())
        monkeypatch.setattr(PyAVReader, "_found", lambda self, indices: (_ for _ in ()).throw(DecodingError("a", "b")))
        with pytest.raises(DecodingError, match="a: b"):
            next(scored(recognizer, Windows.every_frames(reader, CLIP, 2)))


def test_damage_on_the_way_gives_the_windows_of_the_frames_that_are_good(
    tmp_path: Path, encode_video: Encode, recognizer: Recognizer
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=61, options={"bf": "0", "g": "9"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = packets[27]
    data[start + 5 : start + size] = bytes(size - 5)
    path.write_bytes(data)
    with PyAVReader(path, scan(path)) as reader:
        assert reader.num_frames == 61
        results = with_recount(lambda: list(scored(recognizer, Windows.every_seconds(reader, CLIP, 0.5))))
        assert reader.num_frames < 61
        assert [window for window, _ in results] == list(Windows.every_seconds(reader, CLIP, 0.5))
        for window, logits in results:
            assert torch.equal(logits, recognizer.logits(alone(reader, window.frames, ViewTransform(CLIP, Views()))))


PEAK = """
import resource, sys
from videonl.data.reading.decoding import open_video
from videonl.data.transforms import ClipFormat
from videonl.inference.sliding import views_of
from videonl.inference.windows import Windows
with open_video(sys.argv[1]) as reader:
    windows = Windows.every_frames(reader, ClipFormat(8, 2, 128, 112), 8)
    assert sum(1 for _ in views_of(windows)) == len(windows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def repeated(source: Path, target: Path, times: int) -> Path:
    """The packets of a video several times over."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        copied = written.add_stream_from_template(stream)
        packets = [(bytes(packet), packet) for packet in read.demux(stream) if packet.size]
        length = round(len(packets) / stream.average_rate / stream.time_base)
        for number in range(times):
            for data, original in packets:
                packet = av.Packet(data)
                packet.time_base, packet.is_keyframe, packet.stream = stream.time_base, original.is_keyframe, copied
                packet.pts, packet.dts = original.pts + number * length, original.dts + number * length
                written.mux(packet)
    return target


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    base = textured(tmp_path / "base.mp4", num_frames=503, size=(121, 161))
    peaks_kb = []
    for path in (base, repeated(base, tmp_path / "long.mp4", times=19)):
        words = [sys.executable, "-c", PEAK, str(path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        peaks_kb.append(int(subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout))
    # The 9557 frames of the longer one take 555 MB decoded; the list of them 3 MB.
    assert peaks_kb[1] - peaks_kb[0] < 20_000
