import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from videonl.data.reading.decoding import DECODERS, DecodingError, open_video
from videonl.errors import UserError

Encode = Callable[..., Path]
ReadIndex = Callable[[torch.Tensor], int]
B_FRAMES = {"bf": "3", "g": "11", "x264-params": "b-adapt=0:scenecut=0"}

decoders = pytest.mark.parametrize("decoder", ["pyav", "decord"])


def skip_without(decoder: str) -> None:
    if decoder == "decord":
        pytest.importorskip("decord", reason="decord is optional")


def sequential_frames(path: Path, limit: int | None = None) -> list[torch.Tensor]:
    """Every frame in order, upright, as the ffmpeg command gives them: without packets that hold no valid data.

    In one thread, for how FFmpeg mends damage depends on its threads.
    """
    frames: list[torch.Tensor] = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.InvalidDataError:
                continue
            for frame in decoded:
                turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                frames.append(torch.from_numpy(turned.copy()))
                if len(frames) == limit:
                    return frames
    return frames


def truncate(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@decoders
def test_frames_by_index_repeated_and_unordered(
    tmp_path: Path, encode_video: Encode, read_index: ReadIndex, decoder: str
) -> None:
    skip_without(decoder)
    path = encode_video(tmp_path / "clip.mp4", num_frames=37, options=B_FRAMES)
    wanted = [36, 0, 5, 5, 17, 1, 23]
    with open_video(path, decoder) as reader:
        frames = reader.read(wanted)
        assert reader.num_frames == 37
        assert reader.fps == pytest.approx(24)
    assert frames.shape == (7, 46, 62, 3)
    assert frames.dtype == torch.uint8
    assert [read_index(frame) for frame in frames] == wanted


@decoders
def test_every_frame_of_a_video_with_b_frames_is_the_sequential_one(
    tmp_path: Path, encode_video: Encode, decoder: str
) -> None:
    skip_without(decoder)
    path = encode_video(tmp_path / "clip.mp4", num_frames=23, options=B_FRAMES)
    with av.open(str(path)) as container:
        assert "B" in {av.video.frame.PictureType(frame.pict_type).name for frame in container.decode(video=0)}
    truth = sequential_frames(path)
    for index, frame in enumerate(truth):
        # One at a time: the frames in between are those that may be skipped.
        torch.testing.assert_close(open_video(path, decoder).read([index])[0], frame, rtol=0, atol=2)
    if decoder == "pyav":
        assert torch.equal(open_video(path).read(range(23)), torch.stack(truth))


@decoders
def test_one_frame(tmp_path: Path, encode_video: Encode, decoder: str) -> None:
    skip_without(decoder)
    reader = open_video(encode_video(tmp_path / "clip.mp4", num_frames=1), decoder)
    assert reader.num_frames == 1
    assert reader.read([0, 0]).shape == (2, 46, 62, 3)


@decoders
@pytest.mark.parametrize("index", [-1, 19])
def test_indices_out_of_range(tmp_path: Path, encode_video: Encode, decoder: str, index: int) -> None:
    skip_without(decoder)
    with pytest.raises(IndexError, match=f"frame {index} requested, but the video has 19"):
        open_video(encode_video(tmp_path / "clip.mp4"), decoder).read([0, index])


@decoders
@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(
    tmp_path: Path, encode_video: Encode, read_index: ReadIndex, decoder: str, rotation: int
) -> None:
    skip_without(decoder)
    path = encode_video(tmp_path / "clip.mp4", num_frames=13, rotation=rotation)
    frame = open_video(path, decoder).read([11])[0]
    assert frame.shape[:2] == ((46, 62) if rotation == 180 else (62, 46))
    assert read_index(frame.rot90(-rotation // 90, (0, 1))) == 11


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "libx264"), ("a.webm", "libvpx-vp9")]
)
def test_containers_and_codecs(
    tmp_path: Path, encode_video: Encode, read_index: ReadIndex, name: str, codec: str
) -> None:
    options = {"bf": "2"} if codec != "libvpx-vp9" else {}
    reader = open_video(encode_video(tmp_path / name, num_frames=17, codec=codec, options=options))
    assert [read_index(frame) for frame in reader.read([16, 3, 8])] == [16, 3, 8]


@decoders
@pytest.mark.parametrize("content", [b"", b"no video" * 1000, bytes(5000)])
def test_files_that_are_no_videos(tmp_path: Path, decoder: str, content: bytes) -> None:
    skip_without(decoder)
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(DecodingError, match=r"clip\.mp4: \w+"):
        open_video(path, decoder).read([0])


@decoders
def test_a_missing_file(tmp_path: Path, decoder: str) -> None:
    skip_without(decoder)
    with pytest.raises(DecodingError, match=r"gone\.mp4: no such file"):
        open_video(tmp_path / "gone.mp4", decoder)


@decoders
def test_a_file_cut_off_before_its_index(tmp_path: Path, encode_video: Encode, decoder: str) -> None:
    skip_without(decoder)
    with pytest.raises(DecodingError, match=r"clip\.mp4"):
        open_video(truncate(encode_video(tmp_path / "clip.mp4"), 0.5), decoder)


def test_a_file_cut_off_half_way_gives_its_first_frames(
    tmp_path: Path, encode_video: Encode, read_index: ReadIndex
) -> None:
    path = truncate(encode_video(tmp_path / "clip.mkv", num_frames=53, options={"bf": "0", "g": "7"}), 0.6)
    reader = open_video(path)
    assert 7 < reader.num_frames < 53
    assert [read_index(frame) for frame in reader.read([5, 2])] == [5, 2]


def test_a_file_corrupt_half_way(tmp_path: Path, encode_video: Encode, read_index: ReadIndex) -> None:
    path = encode_video(tmp_path / "clip.mp4", num_frames=31, options={"bf": "0", "g": "5"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = packets[20]
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    truth = sequential_frames(path)
    reader = open_video(path)
    assert reader.num_frames == len(truth) < 31  # frames are lost with the damaged key frame
    assert [read_index(frame) for frame in reader.read([12, 3])] == [12, 3]
    assert torch.equal(reader.read(range(len(truth))), torch.stack(truth))


def test_audio_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(DecodingError, match=r"sound\.mp4: has no video stream"):
        open_video(path)


def test_unknown_decoder_lists_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown decoder 'opencv'.*auto, pyav, decord, torchcodec"):
        open_video(tmp_path / "clip.mp4", "opencv")
    assert set(DECODERS) == {"auto", "pyav", "decord", "torchcodec"}


def test_decord_is_imported_only_when_asked_for() -> None:
    code = "import sys, videonl.data.reading.decoding; sys.exit('decord' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_without_decord_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(UserError, match=r"decord is not installed\. Use pyav"):
        open_video(tmp_path / "clip.mp4", "decord")


def test_decord_with_its_bridge_set_to_torch(tmp_path: Path, encode_video: Encode, read_index: ReadIndex) -> None:
    decord = pytest.importorskip("decord", reason="decord is optional")
    path = encode_video(tmp_path / "clip.mp4")
    decord.bridge.set_bridge("torch")
    try:
        assert [read_index(frame) for frame in open_video(path, "decord").read([7, 2])] == [7, 2]
    finally:
        decord.bridge.set_bridge("native")


def test_errors_survive_the_way_out_of_a_worker() -> None:
    error = pickle.loads(pickle.dumps(DecodingError("clip.mp4", "the file is empty")))
    assert (error.path, error.reason, str(error)) == ("clip.mp4", "the file is empty", "clip.mp4: the file is empty")


@pytest.mark.shared
def test_real_files_give_the_sequential_frames(shared_clips: Path) -> None:
    paths = sorted((shared_clips / "odd").iterdir()) + sorted((shared_clips / "ut_interaction").glob("*/*01_00*.avi"))
    assert len(paths) > 32
    for path in paths:
        truth = sequential_frames(path, limit=41)
        wanted = [len(truth) - 1, 0, len(truth) // 2, len(truth) // 3]
        frames = open_video(path).read(wanted)
        assert all(torch.equal(frame, truth[index]) for frame, index in zip(frames, wanted, strict=True)), path
