"""Streams copied without decoding: times that do not follow the pictures, and beginnings within an open GOP."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from videonl.data.dataset import read_views
from videonl.data.indexing.facts import Task, examine
from videonl.data.preparing.encoding import Encoding, encode
from videonl.data.reading import packets as packets_module
from videonl.data.reading import scan as scan_module
from videonl.data.reading.decoding import DECODERS, DecodingError, open_video
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.scan import scan
from videonl.data.reading.video_reader import with_recount
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import Video

HEIGHT, WIDTH, NUM_FRAMES = 46, 62, 41
X264 = "keyint=11:min-keyint=11:bframes=3:b-adapt=0:scenecut=0"
X265 = "keyint=11:min-keyint=11:bframes=3:b-adapt=0:scenecut=0:log-level=none"
CODECS = {
    "h264": ("libx264", {"x264-params": X264}),
    "hevc": ("libx265", {"x265-params": X265}),
    "mpeg4": ("mpeg4", {"bf": "2", "g": "11"}),
}
OPEN = {
    "h264": ("libx264", {"x264-params": X264 + ":open-gop=1"}),
    "mpeg4": ("mpeg4", {"bf": "2", "g": "11"}),
    "mpeg2": ("mpeg2video", {"bf": "2", "g": "11"}),
}


def write(path: Path, codec: str, options: dict[str, str]) -> Path:
    noise = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for index in range(NUM_FRAMES):
            rgb = np.roll(noise, (3 * index, 5 * index), (0, 1)) // 2 + np.uint8(3 * index)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def copy(source: Path, target: Path, num_keys_skipped: int = 0, delay: int | None = None) -> Path:
    """Copy packets from a key frame on; with a delay, each is said to be shown so many frames after it is decoded."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        copied = written.add_stream_from_template(stream)
        num_keys = number = 0
        for packet in read.demux(stream):
            num_keys += packet.is_keyframe and packet.size > 0
            if not packet.size or num_keys <= num_keys_skipped:
                continue
            if delay is not None:
                period = round(1 / (25 * packet.time_base))
                packet.dts, packet.pts = number * period, (number + delay) * period
            number += 1
            packet.stream = copied
            written.mux(packet)
    return target


def sequential(path: Path) -> torch.Tensor:
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except av.InvalidDataError:
                continue
    return torch.from_numpy(np.stack(frames))


def check_reading(path: Path, truth: torch.Tensor) -> None:
    """Every way to open it gives the frames of sequential decoding, each alone too; others refuse."""
    record = examine(Task(path))
    assert record.usable
    assert (record.num_frames, "pyav" in record.exact_backends) == (len(truth), True)
    known = FrameTable.from_text(record.frame_table) if record.frame_table else None
    for table in (None, known):
        for indices in (list(range(len(truth))), [len(truth) - 1], [1], [len(truth) // 2, 2]):
            with open_video(path, known=table) as reader:
                assert reader.num_frames == len(truth)
                assert torch.equal(reader.read(indices), truth[indices])
                rising = sorted(indices)
                assert torch.equal(torch.stack([*reader.frames(rising)]), truth[rising])
    for decoder in set(record.compared_backends) - {"pyav"}:
        with pytest.raises(DecodingError, match="not exact on it"):
            open_video(path, decoder)


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("codec", CODECS)
def test_times_that_do_not_follow_the_pictures_are_noticed(
    tmp_path: Path, codec: str, container: str, delay: int
) -> None:
    source = write(tmp_path / "source.mp4", *CODECS[codec])
    truth = sequential(source)
    path = copy(source, tmp_path / f"copied.{container}", delay=delay)
    assert torch.equal(sequential(path), truth)
    check_reading(path, truth)
    with open_video(path) as reader:
        expected = torch.arange(NUM_FRAMES, dtype=torch.float64) / 25
        torch.testing.assert_close(reader.timestamps_seconds, expected, rtol=0, atol=1e-3)


def test_such_times_in_one_group_of_pictures_are_noticed(tmp_path: Path) -> None:
    source = write(tmp_path / "source.mp4", *CODECS["h264"])
    with av.open(str(source)) as read, av.open(str(tmp_path / "copied.mp4"), "w") as written:
        copied = written.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(read.demux(video=0)):
            if not packet.size:
                continue
            if 11 <= number < 22:
                packet.pts = packet.dts + (packet.pts - packet.dts if packet.is_keyframe else 1024)
            packet.stream = copied
            written.mux(packet)
    check_reading(tmp_path / "copied.mp4", sequential(source))


def test_a_wrong_table_is_noticed_on_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "source.mp4", *CODECS["h264"])
    path, truth = copy(source, tmp_path / "copied.mp4", delay=0), sequential(source)
    monkeypatch.setattr(packets_module, "_has_unordered_times", lambda packets, by_gop: False)
    table = scan(path)  # what version 0.1 wrote into its indexes
    assert table.by_timestamp
    with open_video(path, known=table) as reader:
        assert torch.equal(reader.read(range(5, 19)), truth[5:19])
        assert not reader.table.by_timestamp
    with open_video(path, known=table) as reader:
        assert torch.equal(with_recount(lambda: torch.stack([*reader.frames(range(5, 19))])), truth[5:19])
        assert not reader.table.by_timestamp
    monkeypatch.setattr(scan_module, "_kept", type(scan_module._kept)())
    assert examine(Task(path)).exact_backends == ["pyav"]  # examining decodes all, and corrects the table


ORDINARY = {
    "b_frames.mp4": CODECS["h264"],
    "no_b_frames.mp4": ("libx264", {"bf": "0", "g": "11"}),
    "hevc.mp4": CODECS["hevc"],
    "low_delay_hevc.mp4": ("libx265", {"x265-params": "bframes=0:log-level=none"}),
    "mpeg4.mp4": CODECS["mpeg4"],
    "b_frames.avi": CODECS["h264"],
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_are_listed_without_decoding_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write(tmp_path / name, *ORDINARY[name])
    monkeypatch.delattr(scan_module, "decode")
    assert scan(path).num_frames == NUM_FRAMES


@pytest.mark.parametrize("num_keys_skipped", [1, 2])
@pytest.mark.parametrize("container", ["avi", "ts", "mpg", "mkv", "mp4"])
@pytest.mark.parametrize("codec", OPEN)
def test_files_cut_within_an_open_gop_are_the_frames_that_decode(
    tmp_path: Path, codec: str, container: str, num_keys_skipped: int
) -> None:
    if (codec, container) == ("mpeg4", "ts") or (codec != "mpeg2" and container == "mpg"):
        pytest.skip("FFmpeg muxes none")
    source = write(tmp_path / f"source.{'mpg' if codec == 'mpeg2' else 'avi'}", *OPEN[codec])
    path = copy(source, tmp_path / f"cut.{container}", num_keys_skipped)
    truth = sequential(path)
    assert NUM_FRAMES - 11 * num_keys_skipped - 3 <= len(truth) < NUM_FRAMES
    check_reading(path, truth)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_files_cut_between_key_frames(tmp_path: Path, codec: str) -> None:
    options = {f"{codec[3:]}-params": "keyint=11:bframes=0:scenecut=0" + ":log-level=none" * (codec == "libx265")}
    source = write(tmp_path / "source.mp4", codec, options)
    with av.open(str(source)) as read, av.open(str(tmp_path / "cut.mp4"), "w") as written:
        copied = written.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(read.demux(video=0)):
            if packet.size and number >= 5:
                packet.is_keyframe |= number == 5  # as cutters say, lest players show nothing
                packet.stream = copied
                written.mux(packet)
    check_reading(tmp_path / "cut.mp4", sequential(tmp_path / "cut.mp4"))


def test_a_clip_that_meets_damage_is_read_as_one_that_knows_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "clip.mp4", "libx264", {"bf": "0", "g": "60", "x264-params": "scenecut=0"})
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = places[35]
    data[start + 5 : start + size] = bytes(size - 5)  # the container and the picture's first byte look good
    path.write_bytes(data)
    num_good = len(sequential(path))
    assert scan(path).num_frames == NUM_FRAMES > num_good
    clip = ClipFormat(num_frames=5, stride_frames=7, short_side_px=37, crop_px=31)
    read = []
    for _ in range(2):  # at first its damage is not known
        read.append(read_views(Video(path, 0), clip, Views(num_clips=3)))
    assert torch.equal(*read)
    assert open_video(path).num_frames == num_good


def test_a_file_on_which_no_decoder_is_exact_is_not_called_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(DECODERS["pyav"]):  # type: ignore[misc]  # the class, chosen at run time
        def read(self, indices: list[int]) -> torch.Tensor:
            return super().read([0 for _ in indices])  # type: ignore[no-any-return]  # its class is a parameter

    for name in DECODERS:
        monkeypatch.setitem(DECODERS, name, Stuck)
    record = examine(Task(write(tmp_path / "clip.mp4", *CODECS["h264"])))
    assert (record.status, record.exact_backends) == ("damaged", [])
    assert record.reason == "no decoder gives the frames of sequential decoding"


@pytest.mark.parametrize("container", ["mp4", "avi"])
def test_prepared_files_have_even_times_where_the_sources_are_of_other_pictures(tmp_path: Path, container: str) -> None:
    source = write(tmp_path / f"a.{container}", *CODECS["h264"])
    if container == "mp4":
        source = copy(source, tmp_path / "copied.mp4", delay=0)
    encode(source, tmp_path / "b.mp4", Encoding(), NUM_FRAMES)
    with open_video(tmp_path / "b.mp4") as reader:
        expected = torch.arange(NUM_FRAMES, dtype=torch.float64) / 25
        torch.testing.assert_close(reader.timestamps_seconds, expected, rtol=0, atol=1e-3)


@pytest.mark.shared
def test_shared_cases(shared_clips: Path) -> None:
    cases = shared_clips.parent / "cases"
    truth = sequential(cases / "pts_equal_dts" / "source.avi")
    for name in ("copied.mp4", "genpts.mp4"):
        assert torch.equal(open_video(cases / "pts_equal_dts" / name).read(range(len(truth))), truth)
    for name, num_frames in (("whole", 50), ("cut_0.5", 44), ("cut_0.9", 32), ("cut_1.3", 26)):
        path = cases / "cut_avi" / f"{name}.avi"
        assert len(sequential(path)) == num_frames
        check_reading(path, sequential(path))
