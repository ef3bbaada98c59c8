from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from videonl.data.indexing.facts import Task, examine
from videonl.data.preparing.encoding import Encoding, encode
from videonl.data.preparing.resized_frames import upright_size
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.errors import UserError

Encode = Callable[..., Path]
ReadIndex = Callable[[torch.Tensor], int]


def write_noise(path: Path, pts: list[int], time_base: Fraction, height: int = 94, width: int = 138) -> Path:
    """Smooth moving colors with the given timestamps."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "5", "bf": "3"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        for number, time in enumerate(pts):
            waves = [np.sin((grid[0] + grid[1] * share + 5 * number) / 13) for share in (0.3, 1.0, -0.7)]
            rgb = (127 + 90 * np.stack(waves, axis=-1)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def timestamps_seconds(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9"), ("a.mkv", "libx264")]
)
def test_frame_i_stays_frame_i(
    tmp_path: Path, encode_video: Encode, read_index: ReadIndex, name: str, codec: str
) -> None:
    options = {"bf": "2"} if codec != "libvpx-vp9" else {}
    source = encode_video(tmp_path / name, num_frames=37, height=146, width=262, codec=codec, options=options)
    encoded = encode(source, tmp_path / "out" / "x.mp4", Encoding(short_side_px=68, key_frame_every=7), num_frames=37)
    assert encoded.num_frames == 37
    with open_video(tmp_path / "out" / "x.mp4") as reader:
        frames = reader.read(range(37))
    assert frames.shape == (37, 68, 122, 3)
    assert [read_index(frame) for frame in frames] == list(range(37))
    facts = examine(Task(tmp_path / "out" / "x.mp4"))
    assert facts.key_frames == [0, 7, 14, 21, 28, 35]
    assert facts.exact_backends[0] == "pyav"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.mp4"]


def test_of_several_streams_the_one_that_readers_read(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        sides = {34: 200, 92: 50}  # FFmpeg's best one is the second, which is larger
        streams = [container.add_stream("libx264", rate=24) for _ in sides]
        for stream, side in zip(streams, sides, strict=True):
            stream.height, stream.width, stream.pix_fmt = side, side, "yuv420p"
        for _ in range(5):
            for stream, (side, gray) in zip(streams, sides.items(), strict=True):
                frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), gray, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    encode(tmp_path / "a.mkv", tmp_path / "b.mp4", Encoding(), num_frames=5)
    read, written = (open_video(tmp_path / name).read([3]).float() for name in ("a.mkv", "b.mp4"))
    assert read.shape == written.shape == (1, 34, 34, 3)
    torch.testing.assert_close(written, read, rtol=0, atol=3)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied_and_not_kept(
    tmp_path: Path, encode_video: Encode, read_index: ReadIndex, rotation: int
) -> None:
    source = encode_video(tmp_path / "a.mp4", num_frames=13, rotation=rotation)
    encode(source, tmp_path / "b.mp4", Encoding(), num_frames=13)
    upright, written = open_video(source).read([11])[0], open_video(tmp_path / "b.mp4").read([11])[0]
    assert written.shape == upright.shape
    assert read_index(written.rot90(-rotation // 90, (0, 1))) == 11
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_uneven_times_are_kept_from_zero_and_sound_is_dropped(tmp_path: Path) -> None:
    times = [700, 710, 790, 800, 950, 951, 1300]
    source = write_noise(tmp_path / "a.mkv", times, Fraction(1, 1000))
    encode(source, tmp_path / "b.mp4", Encoding(), num_frames=7)
    assert timestamps_seconds(tmp_path / "b.mp4") == pytest.approx([(time - 700) / 1000 for time in times], abs=1e-4)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize(("rotation", "expected"), [(0, Fraction(16, 11)), (90, Fraction(11, 16))])
def test_pixels_stay_as_they_are_stored_and_their_aspect_ratio_is_kept(
    tmp_path: Path, rotation: int, expected: Fraction
) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 58, 74, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        stream.set_display_rotation(rotation)
        for number in range(5):
            rgb = np.full((58, 74, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    record = examine(Task(tmp_path / "a.mp4"))
    assert record.pixel_aspect == f"{expected.numerator}:{expected.denominator}"
    encode(tmp_path / "a.mp4", tmp_path / "b.mp4", Encoding(short_side_px=58), num_frames=5)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == expected
    shapes = {open_video(tmp_path / name).read([3]).shape for name in ("a.mp4", "b.mp4")}
    assert shapes == {(1, 74, 58, 3) if rotation else (1, 58, 74, 3)}


def test_interlaced_frames_stay_woven(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mpg"), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "q:v": "1"})
        stream.height, stream.width, stream.pix_fmt = 58, 74, "yuv420p"
        for number in range(5):
            rgb = np.full((58, 74, 3), 60, np.uint8)
            rgb[number % 2 :: 2] = 180  # the two fields differ
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    assert examine(Task(tmp_path / "a.mpg")).interlaced
    encode(tmp_path / "a.mpg", tmp_path / "b.mp4", Encoding(crf=1), num_frames=5)
    assert not examine(Task(tmp_path / "b.mp4")).interlaced
    for name in ("a.mpg", "b.mp4"):
        rows = open_video(tmp_path / name).read([1])[0].float().mean(dim=(1, 2))
        assert rows[1::2].min() > rows[0::2].max() + 80


def test_quality_is_the_psnr_of_the_brightness(tmp_path: Path) -> None:
    source = write_noise(tmp_path / "a.mp4", list(range(5)), Fraction(1, 24))
    encoded = encode(source, tmp_path / "b.mp4", Encoding(short_side_px=94, crf=30), num_frames=5)
    planes = []
    for path in (source, tmp_path / "b.mp4"):
        with av.open(str(path)) as container:
            planes.append([frame.to_ndarray()[:94].astype(float) for frame in container.decode(video=0)])
    error = np.mean((np.stack(planes[0]) - np.stack(planes[1])) ** 2)
    assert encoded.psnr_db == pytest.approx(10 * np.log10(255**2 / error), abs=1e-6)
    assert 25 < encoded.psnr_db < 50
    colors = [open_video(path).read(range(5)).double().mean(dim=(0, 1, 2)) for path in (source, tmp_path / "b.mp4")]
    torch.testing.assert_close(colors[0], colors[1], rtol=0, atol=1.5)


def test_folders_of_frames(tmp_path: Path, write_frames: Callable[..., Path], read_index: ReadIndex) -> None:
    encode(write_frames(tmp_path / "clip", 7), tmp_path / "b.mp4", Encoding(), num_frames=7)
    assert [read_index(frame) for frame in open_video(tmp_path / "b.mp4").read(range(7))] == list(range(7))


def test_nothing_appears_where_the_source_fails(tmp_path: Path, encode_video: Encode) -> None:
    source, target = encode_video(tmp_path / "a.mkv", num_frames=29), tmp_path / "out" / "b.mp4"
    with pytest.raises(DecodingError, match="decodes to 29 frames, but the index says 31"):
        encode(source, target, Encoding(), num_frames=31)
    source.write_bytes(b"nothing" * 99)
    with pytest.raises(DecodingError, match=r"a\.mkv: cannot be (decoded|re-encoded)"):
        encode(source, target, Encoding(), num_frames=29)
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_is_not_the_fault_of_the_video(
    tmp_path: Path, encode_video: Encode, files_at_most: Callable[[int], AbstractContextManager[None]]
) -> None:
    source = encode_video(tmp_path / "a.mkv", num_frames=29)
    with files_at_most(997), pytest.raises(UserError, match=r"b\.mp4 cannot be written \(File too large\)"):
        encode(source, tmp_path / "out" / "b.mp4", Encoding(), num_frames=29)
    assert not list((tmp_path / "out").iterdir())


def test_sizes_are_even_and_never_larger() -> None:
    assert upright_size(1920, 1080, 256) == (456, 256)
    assert upright_size(270, 480, 256) == (256, 456)
    assert upright_size(64, 48, 256) == (64, 48)
    assert upright_size(1, 1, 256) == (2, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crf": 52}, "crf must be from 0 to 51, got 52"),
        ({"preset": "quick"}, "preset must be one of ultrafast"),
        ({"short_side_px": 1}, "from 2 to"),
        ({"key_frame_every": 0}, "from 1 to"),
    ],
)
def test_wrong_settings(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Encoding(**wrong)
