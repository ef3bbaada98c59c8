"""Videos that another process decodes, and that may hang or crash there."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.inference.conftest import textured
from videonl.data.reading import limited_reader
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.data.reading.limited_reader import LimitedDecoding
from videonl.data.reading.segment import named_place
from videonl.data.reading.video_reader import FewerFramesError, VideoReader, with_recount

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no time limit elsewhere")


class Troubled(limited_reader._Decoding):
    """A decoder that meets trouble in files of some names."""

    def __call__(self, key: tuple[Any, Any]) -> torch.Tensor:
        name = self._reader.path.name if self._reader else ""
        if key[0] == "open" and key[1][0].name == "hangs.mp4":
            ctypes.PyDLL(None).sleep(1000)  # native code that keeps the interpreter's lock
        if key[0] == "next" and name == "crashes.mp4":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(key)


def all_frames(reader: VideoReader) -> torch.Tensor:
    return with_recount(lambda: torch.stack(list(reader.frames(range(reader.num_frames)))))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return textured(tmp_path_factory.mktemp("limited") / "video.mp4", num_frames=29)


@pytest.fixture(scope="module")
def decoding() -> Iterator[LimitedDecoding]:
    with LimitedDecoding(30) as opened:
        yield opened


@pytest.mark.parametrize("name", ["video.mp4", "video.mp4#frames=5,23"])
def test_it_reads_what_this_process_reads(decoding: LimitedDecoding, video: Path, name: str) -> None:
    place = named_place(str(video.with_name(name)))
    with open_video(place) as expected, decoding.open(place) as reader:
        assert (reader.num_frames, reader.fps) == (expected.num_frames, expected.fps)
        assert (str(reader.path), reader.duration_seconds) == (str(expected.path), expected.duration_seconds)
        assert torch.equal(reader.timestamps_seconds, expected.timestamps_seconds)
        assert torch.equal(reader.read([11, 2, 2]), expected.read([11, 2, 2]))
        passed = zip(reader.frames([1, 7, 16]), expected.frames([1, 7, 16]), strict=True)
        assert all(torch.equal(here, there) for here, there in passed)
        with pytest.raises(IndexError, match="frame 29 requested"):
            reader.read([29])


def test_faults_are_those_of_the_file(decoding: LimitedDecoding, video: Path, tmp_path: Path) -> None:
    (tmp_path / "garbage.mp4").write_bytes(b"no video")
    for name, reason in (("garbage.mp4", "cannot be decoded"), ("gone.mp4", "no such file")):
        with pytest.raises(DecodingError, match=rf"{name}: {reason}"):
            decoding.open(tmp_path / name)
    damaged = tmp_path / "damaged.mp4"
    content = bytearray(video.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 999] = bytes(999)
    damaged.write_bytes(content)
    with decoding.open(damaged) as reader, open_video(damaged) as expected:
        with pytest.raises(FewerFramesError):
            list(reader.frames(range(reader.num_frames)))
        assert torch.equal(all_frames(reader), all_frames(expected))
        assert torch.equal(reader.timestamps_seconds, expected.timestamps_seconds)


def test_a_hang_and_a_crash_cost_one_video_each(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_reader, "_Decoding", Troubled)
    for name in ("hangs.mp4", "crashes.mp4"):
        (tmp_path / name).symlink_to(video)
    with LimitedDecoding(3) as decoding:
        with pytest.raises(DecodingError, match=r"hangs\.mp4: took longer than 3 seconds, and the process"):
            decoding.open(tmp_path / "hangs.mp4")
        with (
            decoding.open(tmp_path / "crashes.mp4") as reader,
            pytest.raises(DecodingError, match=r"crashes\.mp4: the process that decoded it died"),
        ):
            list(reader.frames([3]))
        assert decoding.open(video).num_frames == 29
