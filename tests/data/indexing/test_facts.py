import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import pytest
import torch
from av.bitstream import BitStreamFilterContext

from videonl.data.indexing.facts import Task, examine
from videonl.data.indexing.fingerprint import content_hash
from videonl.data.indexing.index_file import IndexRow
from videonl.data.indexing.index_report import report_of
from videonl.data.reading.decoding import DECODERS, open_video
from videonl.data.reading.pyav_reader import PyAVReader

Encode = Callable[..., Path]


def test_facts_of_a_video(tmp_path: Path, encode_video: Encode) -> None:
    path = encode_video(
        tmp_path / "a.mp4", num_frames=29, options={"g": "11", "x264-params": "scenecut=0"}, rotation=90
    )
    record = examine(Task(path))
    assert (record.status, record.reason, record.checked) == ("ok", "", "compare")
    assert (record.container, record.codec, record.width, record.height, record.rotation) == ("mov", "h264", 46, 62, 90)
    assert (record.num_frames, record.fps, record.duration_seconds) == (29, 24, pytest.approx(29 / 24))
    assert record.key_frames == [0, 11, 22]
    assert "pyav" in record.exact_backends
    assert record.content_hash == hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert (record.num_bytes, record.modified_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


def test_a_report_counts_what_is_not_shown_as_it_is_stored() -> None:
    records = [IndexRow("a", "x", pixel_aspect="16:11", interlaced=True), IndexRow("b", "x", pixel_aspect="16:11")]
    report = report_of([*records, IndexRow("c", "x", interlaced=False)])
    assert (report["non_square"], report["interlaced"]) == (["16:11: 2 videos"], ["interlaced: 1 videos"])


@pytest.mark.parametrize("check", ["packets", "decode"])
def test_lighter_checks_find_the_same_but_for_exact_decoders(tmp_path: Path, encode_video: Encode, check: str) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=29, options={"g": "11", "bf": "2"})
    whole, light = examine(Task(path)), examine(Task(path, check))
    assert light.compared_backends == light.exact_backends == []
    assert (light.num_frames, light.key_frames, light.fps) == (whole.num_frames, whole.key_frames, whole.fps)


def test_the_length_is_that_of_the_frames_where_the_header_counts_empty_slots(
    tmp_path: Path, encode_video: Encode
) -> None:
    path = encode_video(tmp_path / "a.avi", num_frames=29, times=range(0, 29 * 4, 4))  # in slots of 1/100 s
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 100
    record = examine(Task(path, "decode"))
    with open_video(path) as reader:
        assert (record.fps, record.duration_seconds) == (reader.fps, reader.duration_seconds)
    assert record.duration_seconds == pytest.approx(29 / 25, abs=2 / 25)


def test_frames_that_change_their_orientation_are_refused(tmp_path: Path, encode_video: Encode) -> None:
    source, path = encode_video(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    with av.open(str(source)) as container, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(container.streams.video[0])
        turned = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=90", stream, stream)
        for packet in container.demux(video=0):  # the message is for the first picture alone
            copy.mux(turned.filter(packet if packet.size else None))
    record = examine(Task(path))
    assert (record.status, record.reason.partition(" (")[0]) == ("broken", "its frames change size or orientation")


def test_decoders_that_return_other_frames_are_not_exact(shared_clips: Path) -> None:
    record = examine(Task(shared_clips / "ut_interaction" / "hug" / "set1_seq01_002.avi"))
    assert record.usable
    assert {"pyav", "decord"} <= set(record.compared_backends)
    assert "decord" not in record.exact_backends


@pytest.mark.parametrize("shift", [-3, -1, 0, 2])
def test_a_decoder_that_is_off_is_told_from_one_that_is_exact(
    tmp_path: Path, encode_video: Encode, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    class Shifted(PyAVReader):
        def read(self, indices: Sequence[int]) -> torch.Tensor:
            frames = super().read([min(max(index + shift, 0), self.num_frames - 1) for index in indices])
            return (frames.float() + 2).clamp(0, 255).byte()  # decoders differ a little in color

    monkeypatch.setitem(DECODERS, "shifted", Shifted)
    record = examine(Task(encode_video(tmp_path / "a.mp4", num_frames=37)))
    assert set(record.compared_backends) >= {"pyav", "shifted"}
    assert ("shifted" in record.exact_backends) == (shift == 0)
    assert "pyav" in record.exact_backends


def corrupt_packet(path: Path, number: int) -> None:
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = packets[number]
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)


def test_a_file_corrupt_half_way_is_damaged_and_counts_as_it_decodes(tmp_path: Path, encode_video: Encode) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=31, options={"bf": "0", "g": "5"})
    corrupt_packet(path, 20)
    record = examine(Task(path))
    assert (record.status, record.codec, record.width) == ("damaged", "h264", 62)
    assert "packets hold no valid data" in record.reason
    assert record.num_frames == num_valid_frames(path) < 31


def num_valid_frames(path: Path) -> int:
    """What is left when packets that do not decode are skipped."""
    num_frames = 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            with contextlib.suppress(av.InvalidDataError):
                num_frames += len(packet.decode())
    return num_frames


def test_a_file_cut_off_where_the_decoder_goes_on_is_damaged(tmp_path: Path, encode_video: Encode) -> None:
    path = encode_video(tmp_path / "a.mkv", num_frames=53, options={"bf": "0", "g": "7"})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    (tmp_path / "b.mkv").write_bytes(path.read_bytes())
    level = av.logging.get_level()  # torchvision 0.21 sets one
    for cut_off in (path, tmp_path / "b.mkv"):  # of which the decoder says the same
        record = examine(Task(cut_off))
        assert (record.status, record.usable) == ("damaged", True)
        assert "ended prematurely" in record.reason
    assert record.num_frames is not None and 7 < record.num_frames < 53
    assert av.logging.get_level() == level


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"no video" * 999, "cannot be read|cannot be decoded")]
)
def test_files_that_are_no_videos(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    record = examine(Task(tmp_path / "a.mp4"))
    assert (record.status, record.num_bytes) == ("broken", len(content))
    assert record.reason.startswith(tuple(reason.split("|")))


def test_missing_files_and_pipes(tmp_path: Path) -> None:
    assert examine(Task(tmp_path / "gone.mp4")).status == "missing"
    os.mkfifo(tmp_path / "pipe.mp4")
    record = examine(Task(tmp_path / "pipe.mp4"))
    assert (record.status, record.reason) == ("broken", "is neither a file nor a folder of frames")


def test_folders_of_frames(tmp_path: Path, write_frames: Callable[..., Path]) -> None:
    folder = write_frames(tmp_path / "clip", 7)
    record = examine(Task(folder))
    assert (record.status, record.container, record.codec, record.num_frames) == ("ok", "frames", "png", 7)
    assert (record.width, record.height, record.fps) == (62, 46, None)
    (folder / "img_00003.png").unlink()
    gap = examine(Task(folder))
    assert (gap.status, gap.num_frames) == ("damaged", 6)
    assert "gaps" in gap.reason
    assert gap.content_hash != record.content_hash == content_hash(write_frames(tmp_path / "same", 7))
    (folder / "img_00005.png").write_bytes(b"nothing")
    assert examine(Task(folder)).status == "broken"
