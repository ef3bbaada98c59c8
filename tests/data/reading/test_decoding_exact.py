"""Frames through every reader against plain sequential decoding, over what the bundled encoders offer."""

import os
import pickle
import re
import resource
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter
from torch.utils.data import DataLoader, Dataset

from videonl.data.indexing.facts import Task, examine
from videonl.data.reading import scan as scan_module
from videonl.data.reading.clip_buffer import ClipBuffer
from videonl.data.reading.decoding import DECODERS, DecodingError, check_decoder, open_video, why_inexact
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.pyav_reader import PyAVReader
from videonl.data.reading.scan import scan
from videonl.data.reading.video_reader import VideoReader, with_recount
from videonl.errors import UserError

HEIGHT, WIDTH, NUM_FRAMES = 46, 62, 41
X264 = "keyint=11:min-keyint=11:bframes=3:b-adapt=0:scenecut=0"
FILES = {
    "b_frames.mp4": ("libx264", {"x264-params": X264}, "yuv420p"),
    "long_gop.mkv": ("libx264", {"g": "300", "bf": "3"}, "yuv420p"),
    "open_gop.mp4": ("libx264", {"x264-params": X264 + ":open-gop=1"}, "yuv420p"),
    "refresh.mkv": ("libx264", {"x264-params": "intra-refresh=1:keyint=11:bframes=0:scenecut=0"}, "yuv420p"),
    "ten_bit.mp4": ("libx264", {}, "yuv420p10le"),
    "plain.avi": ("libx264", {"bf": "2"}, "yuv420p"),
    "plain.ts": ("libx264", {"bf": "2"}, "yuv420p"),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=11:bframes=3:log-level=none"}, "yuv420p"),
    "layers.mp4": (
        "libx265",
        {"x265-params": "keyint=12:scenecut=0:bframes=3:temporal-layers=3:log-level=none"},
        "yuv420p",
    ),
    "hidden.webm": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "13"}, "yuv420p"),
    "vp9.webm": ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "13"}, "yuv420p"),
    "mpeg4.avi": ("mpeg4", {"bf": "2"}, "yuv420p"),
    "mpeg4.mp4": ("mpeg4", {"bf": "2"}, "yuv420p"),
    "simple.avi": ("mpeg4", {"g": "11"}, "yuv420p"),
    "mjpeg.avi": ("mjpeg", {}, "yuvj420p"),
    "animation.gif": ("gif", {}, "rgb8"),
    "mpeg2.mpg": ("mpeg2video", {"bf": "2"}, "yuv420p"),
}


def picture(index: int) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return np.roll(noise, (3 * index, 5 * index), (0, 1)) // 2 + np.uint8(3 * index)


def encode(
    path: Path, codec: str, options: dict[str, str], pix_fmt: str, num_frames: int = NUM_FRAMES, vfr: bool = False
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.thread_count = 1
        if vfr:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24").reformat(format=pix_fmt)
            if vfr:
                frame.pts, frame.time_base = 7 * index * index, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def sequential(path: Path) -> list[torch.Tensor]:
    """Plain decoding in one thread: how damage is mended depends on threads."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.InvalidDataError:
                continue
            for frame in decoded:
                rgb = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                frames.append(torch.from_numpy(rgb.copy()))
    return frames


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {name: encode(folder / name, *how) for name, how in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_every_frame_is_the_sequential_one_to_the_pixel(files: dict[str, Path], name: str) -> None:
    truth = sequential(files[name])
    with open_video(files[name]) as reader:
        assert reader.num_frames == len(truth)
        order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(0)).tolist()
        assert torch.equal(reader.read(order), torch.stack([truth[index] for index in order]))
        for index in order[:13]:
            assert torch.equal(reader.read([index])[0], truth[index]), index
        for wanted in (range(len(truth)), range(3, len(truth), 2), sorted(order[:5]), [0, len(truth) - 1]):
            passed = zip(wanted, reader.frames(wanted), strict=True)
            assert all(torch.equal(frame, truth[index]) for index, frame in passed), wanted
        announced = scan(files[name])
        assert reader.table == announced  # found by looking at packets, not by healing


def test_av1(tmp_path: Path) -> None:
    try:
        path = encode(tmp_path / "av1.mkv", "libsvtav1", {"preset": "12", "g": "13"}, "yuv420p")
    except (av.FFmpegError, ValueError):
        pytest.skip("no AV1 encoder takes frames this small here")
    truth = sequential(path)
    assert torch.equal(open_video(path).read([40, 2, 17]), torch.stack([truth[index] for index in (40, 2, 17)]))


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
@pytest.mark.parametrize("name", FILES)
def test_other_decoders_are_exact_or_refuse(files: dict[str, Path], name: str, decoder: str) -> None:
    try:
        check_decoder(decoder)
    except UserError as error:
        pytest.skip(str(error))
    truth = torch.stack(sequential(files[name])).float()
    reason = why_inexact(decoder, scan(files[name]))
    if reason:
        with pytest.raises(DecodingError, match="not exact on it"):
            open_video(files[name], decoder)
        return
    frames = open_video(files[name], decoder).read([38, 3, 24, 11])
    distances = (frames.float()[:, None] - truth[None]).abs().mean((2, 3, 4))
    assert distances.argmin(1).tolist() == [38, 3, 24, 11]


@pytest.mark.parametrize("name", ["open_gop.mp4", "layers.mp4", "mpeg4.avi", "mpeg2.mpg", "refresh.mkv"])
def test_decord_is_kept_from_files_it_gets_wrong(files: dict[str, Path], name: str) -> None:
    assert why_inexact("decord", scan(files[name]))
    assert why_inexact("auto", scan(files[name])) is None


def hide_reordering(path: Path) -> None:
    """Cut from the sequence header how far pictures are reordered, which an H.264 encoder need not say (E.1.1)."""
    with av.open(str(path)) as container:
        record = container.streams.video[0].codec_context.extradata
    header = record[8 : 8 + int.from_bytes(record[6:8], "big")]
    bits = "".join(f"{byte:08b}" for byte in header)
    number = "(?:1|01.|001..|0001...|00001.{4})"
    # bitstream_restriction_flag, one flag, two numbers that are 0, four others, and the bit that ends the header.
    restriction = list(re.finditer(f"(?=1111{number}{{4}}10*$)", bits))[-1].start()
    shorter = (bits[:restriction] + "01").ljust(len(bits), "0")
    data = path.read_bytes()
    assert data.count(header) == 1
    path.write_bytes(data.replace(header, int(shorter, 2).to_bytes(len(header), "big")))


def test_frames_are_read_once_where_h264_does_not_say_how_far_it_reorders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "clip.mkv", "libx264", {"x264-params": X264}, "yuv420p")
    hide_reordering(path)
    truth = sequential(path)
    openings = []
    plain_open = av.open
    monkeypatch.setattr(av, "open", lambda *args, **kwargs: openings.append(args) or plain_open(*args, **kwargs))
    table = scan(path)
    for indices in ([1], [5], [16], list(range(NUM_FRAMES))):
        openings.clear()
        frames = open_video(path, known=table).read(indices)
        assert torch.equal(frames, torch.stack([truth[index] for index in indices]))
        assert len(openings) == 1


@pytest.mark.parametrize("name", FILES)
def test_the_header_alone_gives_the_packets_that_looking_into_streams_does(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    by_header = scan(files[name])
    monkeypatch.setattr("videonl.data.reading.container._header_tells", lambda container: False)
    assert scan(files[name]) == by_header


def test_frames_that_change_size_are_refused(tmp_path: Path) -> None:
    rows = [av.VideoFrame(62, height, "yuv420p") for height in (46, 34)]
    clip = ClipBuffer(tmp_path / "clip.mp4", [7, 3], VideoReformatter())
    clip.put(3, rows[0])
    with pytest.raises(DecodingError, match="change size"):
        clip.put(7, rows[1])


def test_variable_frame_rate_is_told_by_timestamps(tmp_path: Path) -> None:
    path = encode(tmp_path / "vfr.mkv", "libx264", {"bf": "2"}, "yuv420p", num_frames=13, vfr=True)
    with open_video(path) as reader:
        expected = torch.tensor([0.007 * index * index for index in range(13)], dtype=torch.float64)
        torch.testing.assert_close(reader.timestamps_seconds, expected, rtol=0, atol=1e-9)
        assert reader.fps == pytest.approx(12 / (0.007 * 144))


def test_a_known_table_opens_the_same_and_survives_packing(files: dict[str, Path]) -> None:
    table = scan(files["b_frames.mp4"])
    packed = FrameTable.from_bytes(table.to_bytes())
    assert packed == table == pickle.loads(pickle.dumps(table))
    assert len(table.to_bytes()) < 700
    assert torch.equal(
        open_video(files["b_frames.mp4"], known=packed).read([30]), open_video(files["b_frames.mp4"]).read([30])
    )


def test_a_table_of_another_file_is_not_believed(files: dict[str, Path]) -> None:
    other = scan(files["b_frames.mp4"])
    assert open_video(files["hevc.mp4"], known=other).table == scan(files["hevc.mp4"])
    with pytest.raises(DecodingError, match="has changed"):
        PyAVReader(files["hevc.mp4"], other)


def test_the_store_keeps_the_tables_of_the_last_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "_MOST_KEPT_TABLES", 2)
    monkeypatch.setattr(scan_module, "_kept", OrderedDict())
    scanned = []
    monkeypatch.setattr(scan_module, "scan", lambda path: scanned.append(path.name) or scan(path))
    encoded = encode(tmp_path / "a.mp4", "libx264", {}, "yuv420p", num_frames=5)
    paths = [encoded, *(tmp_path / f"{name}.mp4" for name in "bc")]
    for path in paths[1:]:
        path.write_bytes(encoded.read_bytes())
    for place in (0, 1, 0, 2, 0, 1):
        assert scan_module.table_of(paths[place]) == scan(encoded)
    assert scanned == ["a.mp4", "b.mp4", "c.mp4", "b.mp4"]  # b was used least recently when c came
    os.utime(encoded, (7, 7))
    scan_module.table_of(encoded)
    assert scanned[4:] == ["a.mp4"]


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("name", ["b_frames.mp4", "hevc.mp4", "vp9.webm", "mpeg4.mp4"])
def test_damage_gives_the_sequential_frames_or_an_error(
    files: dict[str, Path], tmp_path: Path, name: str, seed: int
) -> None:
    with av.open(str(files[name])) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    draw = np.random.default_rng(seed)
    start, size = places[int(draw.integers(2, len(places)))]
    data = bytearray(files[name].read_bytes())
    if seed % 3 == 0:
        data[start : start + size] = b"\xff" * size
    else:
        place = start + size // 2
        data[place : place + seed] = bytes(draw.integers(0, 256, seed, dtype=np.uint8))
    path = tmp_path / name
    path.write_bytes(data)
    truth = sequential(path)
    reader = open_video(path)
    for index in [int(value) for value in draw.permutation(min(reader.num_frames, len(truth)))[:7]]:
        try:
            assert torch.equal(reader.read([index])[0], truth[index])
        except (DecodingError, IndexError):
            continue
    for reader in (open_video(path), PyAVReader(path, scan(path))):  # the damage is known, and is not
        with_recount(lambda reader=reader: check_pass(reader, truth))


def check_pass(reader: VideoReader, truth: list[torch.Tensor]) -> None:
    given = zip(range(reader.num_frames), reader.frames(range(reader.num_frames)), strict=True)
    assert all(torch.equal(frame, truth[index]) for index, frame in given)


class Reads(Dataset[torch.Tensor]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        with open_video(self.path) as reader:
            return reader.read([index * 5])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_readers_work_in_workers(files: dict[str, Path], start: str) -> None:
    path = files["b_frames.mp4"]
    open_video(path).read([3])
    loader = DataLoader(Reads(path), num_workers=1, batch_size=None, multiprocessing_context=start)
    truth = sequential(path)
    assert all(torch.equal(frames[0], truth[5 * index]) for index, frames in enumerate(loader))


@pytest.mark.parametrize("num_reads", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_memory_does_not_grow(files: dict[str, Path], num_reads: int) -> None:
    def read(times: int) -> None:
        for index in range(times):
            with open_video(files["b_frames.mp4"]) as reader:
                reader.read([index % NUM_FRAMES])

    read(100)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read(num_reads)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000


@pytest.mark.shared
@pytest.mark.slow
def test_counts_of_packed_avi_are_those_of_decoding(shared_clips: Path) -> None:
    paths = sorted((shared_clips / "ut_interaction").glob("*/*.avi"))
    assert len(paths) == 120
    for path in paths:
        assert open_video(path).num_frames == len(sequential(path)), path


def test_auto_is_the_default_and_is_listed() -> None:
    assert list(DECODERS) == ["auto", "pyav", "decord", "torchcodec"]


def test_titles_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "titled.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 34
        container.metadata["title"] = stream.metadata["title"] = "Caf- Orl-ans"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(34, 34, "yuv420p")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert content.count(b"Caf- Orl-ans") == 2
    path.write_bytes(content.replace(b"Caf- Orl-ans", b"Caf\xe9 Orl\xe9ans"))  # Latin-1
    assert len(open_video(path).read([2, 0])) == 2
    assert examine(Task(path)).status == "ok"
