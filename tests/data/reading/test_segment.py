"""Parts of videos: their frames by the definition, whoever decodes."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import torch

from videonl.data.reading.decoding import DecodingError, open_video
from videonl.data.reading.segment import Segment, SegmentReader, VideoPart, named_place, read_time
from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.video_reader import with_recount

Encode = Callable[..., Path]
ReadIndex = Callable[[torch.Tensor], int]
SHORT_GOPS = {"bf": "2", "g": "5", "x264-params": "scenecut=0"}


@pytest.fixture
def uneven(tmp_path: Path, encode_video: Encode) -> tuple[Path, list[float]]:
    """A video of 31 frames at uneven times, and these times in seconds."""
    steps = [0, *((index * 7) % 11 + 1 for index in range(30))]
    times = list(itertools.accumulate(steps))
    path = encode_video(tmp_path / "uneven.mp4", num_frames=31, options=SHORT_GOPS, times=times)
    return path, [time / 100 for time in times]


@pytest.mark.parametrize(("start", "end"), [(0, 0.2), (0.07, 0.5), (0.08, 0.5), (0.31, math.inf), (0.0, math.inf)])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_the_frames_are_those_from_start_to_before_end_at_any_rate(
    uneven: tuple[Path, list[float]], read_index: ReadIndex, decoder: str, start: float, end: float
) -> None:
    path, times = uneven
    expected = [index for index, time in enumerate(times) if start <= time < end]
    with open_video(VideoPart(path, Segment(start, end)), decoder) as reader:
        assert [read_index(frame) for frame in reader.read(range(reader.num_frames))] == expected
        assert [read_index(frame) for frame in reader.frames(range(reader.num_frames))] == expected
        shifted = [times[index] - times[expected[0]] for index in expected]
        torch.testing.assert_close(reader.timestamps_seconds, torch.tensor(shifted, dtype=torch.float64))
        assert isinstance(reader, SegmentReader) and reader.first_frame == expected[0]
        after = expected[-1] + 1
        if after < len(times):
            assert reader.duration_seconds == pytest.approx(times[after] - times[expected[0]], abs=1e-9)
        with pytest.raises(IndexError, match=f"frame {len(expected)} requested"):
            reader.read([len(expected)])


def test_times_at_which_a_frame_begins_belong_to_it_however_they_are_rounded(
    tmp_path: Path, encode_video: Encode
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=23)  # at 24 frames a second
    for first in range(1, 23):
        for digits in (7, 12, 16):
            with open_video(VideoPart(path, Segment(round(first / 24, digits)))) as reader:
                assert isinstance(reader, SegmentReader) and reader.first_frame == first
            with open_video(VideoPart(path, Segment(0, round(first / 24, digits)))) as reader:
                assert reader.num_frames == first


def test_frames_folders_and_shards_have_parts_too(
    tmp_path: Path, encode_video: Encode, write_frames: Callable[..., Path], read_index: ReadIndex
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=19, options=SHORT_GOPS)
    member = ShardMember(str(path), 0, path.stat().st_size, "a.mp4")
    for file in (path, member, write_frames(tmp_path / "frames", num_frames=19)):
        with open_video(VideoPart(file, Segment(7, 13, in_frames=True))) as reader:
            assert [read_index(frame) for frame in reader.read([5, 0])] == [12, 7]
            assert reader.num_frames == 6


def test_names_of_parts_and_a_file_of_that_name(tmp_path: Path, encode_video: Encode, read_index: ReadIndex) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=19)
    for part in (VideoPart(path, Segment(0.25, 0.5)), VideoPart(path, Segment(3, in_frames=True))):
        assert named_place(str(part)) == part
        with open_video(str(part)) as by_name, open_video(part) as reader:
            assert by_name.read([0]).equal(reader.read([0]))
    assert named_place(f"{path}#t=,0.5") == VideoPart(path, Segment(0, 0.5))
    of_that_name = encode_video(tmp_path / "a#t=1.mp4", num_frames=5).rename(tmp_path / "a.mp4#t=0,1")
    assert named_place(of_that_name) == of_that_name
    assert named_place("a.mp4#train") == Path("a.mp4#train")


@pytest.mark.parametrize("segment", [Segment(5, 6), Segment(19, in_frames=True), Segment(0.26, 0.27)])
def test_a_segment_without_frames_says_how_long_the_video_is(
    tmp_path: Path, encode_video: Encode, segment: Segment
) -> None:
    part = VideoPart(encode_video(tmp_path / "a.mp4", num_frames=19), segment)
    with pytest.raises(DecodingError, match=r"a.mp4#.*: the segment has no frames; the video has 19 frames in 0.792 s"):
        open_video(part)


def test_errors_name_the_part(tmp_path: Path, encode_video: Encode) -> None:
    gone = VideoPart(tmp_path / "gone.mp4", Segment(1, 2))
    with pytest.raises(DecodingError) as caught:
        open_video(gone)
    assert (caught.value.path, caught.value.reason) == (str(gone), "no such file")


def test_damage_within_a_segment_is_counted_anew(tmp_path: Path, encode_video: Encode) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=97, options={**SHORT_GOPS, "g": "11"})
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        begin, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][60]
    content[begin + 5 : begin + size] = bytes(size - 5)  # the container and the picture's first byte look good
    path.write_bytes(content)
    with open_video(VideoPart(path, Segment(40, in_frames=True))) as reader, open_video(path) as whole:
        frames = with_recount(lambda: reader.read(range(reader.num_frames)))
        assert frames.equal(with_recount(lambda: whole.read(range(whole.num_frames)))[40:])
        assert len(frames) == reader.num_frames < 57


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("83.5", 83.5), ("1:23.5", 83.5), ("01:01:23.500", 3683.5), ("00:00:00", 0), ("100:00:00", 360000)],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert read_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:75", "a", "1e3", "nan", "inf", "1:2:3:4", "00:61:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: write seconds, or HH:MM:SS"):
        read_time(text)
