"""One pass over a video: what the tests of reading do not say already."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest
import torch

from videonl.data.reading.decoding import open_video
from videonl.data.reading.pyav_reader import PyAVReader
from videonl.data.reading.scan import scan
from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.video_reader import FewerFramesError

Encode = Callable[..., Path]
ReadIndex = Callable[[torch.Tensor], int]
SHORT_GOPS = {"bf": "2", "g": "5", "x264-params": "scenecut=0"}


@pytest.mark.parametrize(("indices", "error"), [([3, 3], ValueError), ([5, 2], ValueError), ([7, 19], IndexError)])
def test_frames_that_make_no_pass_are_refused_at_once(
    tmp_path: Path, encode_video: Encode, indices: list[int], error: type[Exception]
) -> None:
    with open_video(encode_video(tmp_path / "a.mp4", num_frames=19)) as reader, pytest.raises(error):
        reader.frames(indices)


def test_no_frames_and_a_pass_that_ends_early(tmp_path: Path, encode_video: Encode, read_index: ReadIndex) -> None:
    with open_video(encode_video(tmp_path / "a.mp4", num_frames=19)) as reader:
        assert list(reader.frames([])) == []
        frames = reader.frames(range(2, 19))
        assert [read_index(next(frames)) for _ in range(3)] == [2, 3, 4]
        frames.close()  # type: ignore[attr-defined]  # of a generator
        assert [read_index(frame) for frame in reader.frames([17, 18])] == [17, 18]


def test_other_readers_pass_over_a_video_too(
    tmp_path: Path, encode_video: Encode, write_frames: Callable[..., Path], read_index: ReadIndex
) -> None:
    wanted = list(range(1, 41, 2))
    folder = write_frames(tmp_path / "frames", num_frames=41)
    path = encode_video(tmp_path / "a.mp4", num_frames=41)
    data = path.read_bytes()
    (tmp_path / "shard.tar").write_bytes(b"before" + data + b"behind")
    member = ShardMember(str(tmp_path / "shard.tar"), 6, len(data), "a.mp4")
    for source in (folder, member):
        with open_video(source) as reader:
            assert [read_index(frame) for frame in reader.frames(wanted)] == wanted


def test_every_packet_is_decoded_once(
    tmp_path: Path, encode_video: Encode, monkeypatch: pytest.MonkeyPatch, read_index: ReadIndex
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=97, options=SHORT_GOPS)
    sent, from_packets = [], PyAVReader._packets_from

    def counted(self: PyAVReader, start: int, *others: object) -> object:
        for packet in from_packets(self, start, *others):
            sent.append(packet.pts)
            yield packet

    monkeypatch.setattr(PyAVReader, "_packets_from", counted)
    with open_video(path) as reader:
        assert [read_index(frame) for frame in reader.frames(range(97))] == list(range(97))
        assert len(sent) == len(set(sent)) == 97
        sent.clear()
        assert [read_index(frame) for frame in reader.frames([2, 90])] == [2, 90]
        assert len(sent) < 20  # what lies between is not decoded


def test_damage_on_the_way_ends_a_pass_and_the_frames_are_counted(
    tmp_path: Path, encode_video: Encode, read_index: ReadIndex
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=31, options={"bf": "0", "g": "5"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = packets[20]
    data[start + 5 : start + size] = bytes(size - 5)  # the container and the picture's first byte look good
    path.write_bytes(data)
    with PyAVReader(path, scan(path)) as reader:
        assert reader.num_frames == 31
        frames, given = reader.frames(range(25)), []
        with pytest.raises(FewerFramesError, match=r"a\.mp4: is damaged at frame \d+ or before; counted anew, \d+ are"):
            given.extend(read_index(frame) for frame in frames)
        assert given == list(range(len(given)))
        assert reader.num_frames < 31
        again = torch.stack([*reader.frames(range(reader.num_frames))])
        assert torch.equal(again, reader.read(range(reader.num_frames)))


@pytest.mark.shared
@pytest.mark.slow
def test_real_files_give_what_reading_gives(shared_clips: Path) -> None:
    for path in sorted((shared_clips / "odd").iterdir()):
        with open_video(path) as reader:
            wanted = range(0, min(reader.num_frames, 150), 3)
            for index, frame in zip(wanted, reader.frames(wanted), strict=True):
                assert torch.equal(frame, reader.read([index])[0]), (path.name, index)
