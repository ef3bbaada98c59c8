"""Loading beside torchcodec: in both of its seek modes, on the files that it reads; the real one where it is."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from videonl.benchmarks.loading import Row, beside_torchcodec
from videonl.benchmarks.loading_peers import SeekMode, torchcodec_frames
from videonl.benchmarks.loading_sides import File, find_files
from videonl.cli import bench_data
from videonl.data.reading.decoding import check_decoder, open_video
from videonl.errors import UserError

pytest.importorskip("decord")


@pytest.fixture
def files(tmp_path: Path, encode_video: Callable[..., Path]) -> list[File]:
    for name, num_frames in (("a.mp4", 61), ("b.mp4", 67)):
        encode_video(tmp_path / "videos" / name, num_frames=num_frames)
    (tmp_path / "links").mkdir()
    return find_files(tmp_path / "videos", tmp_path / "links")


class OneLate:
    """A decoder in the form of torchcodec's that gives the next frame in one mode, and cannot open b.mp4."""

    def __init__(self, source: str, dimension_order: str, num_ffmpeg_threads: int, seek_mode: SeekMode) -> None:
        assert (dimension_order, num_ffmpeg_threads) == ("NHWC", 1)
        self.path = Path(source).resolve()
        if self.path.name == "b.mp4":
            raise RuntimeError("no such frames")
        self.late = int(seek_mode == "approximate")

    def get_frames_at(self, indices: Sequence[int]) -> SimpleNamespace:
        with open_video(self.path) as reader:
            return SimpleNamespace(data=reader.read([min(index + self.late, 60) for index in indices]))


@pytest.mark.parametrize("seek_mode", ["exact", "approximate"])
def test_frames_that_differ_and_files_that_are_left_out_are_named(
    monkeypatch: pytest.MonkeyPatch, files: list[File], seek_mode: SeekMode
) -> None:
    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    package.decoders = decoders  # type: ignore[attr-defined]  # what a module has is not typed
    decoders.VideoDecoder = OneLate  # type: ignore[attr-defined]  # the same
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    frames, clips = beside_torchcodec(seek_mode, files, 1)
    case = "raw" if seek_mode == "exact" else "raw, indexed"
    assert [(row.case, row.peer) for row in (frames, clips)] == [
        ("raw, frames alone", f"torchcodec ({seek_mode})"),
        (case, f"torchcodec ({seek_mode})"),
    ]
    assert frames.differing == ([] if seek_mode == "exact" else ["a.mp4"])
    assert (frames.most_levels == 0) == (seek_mode == "exact")
    assert frames.left_out == clips.left_out == ["b.mp4"]
    assert list(beside_torchcodec(seek_mode, files[1:], 1)) == []


def test_the_table_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("raw, frames alone", "torchcodec (exact)", 7.0, 5.0, 3, differing=["a"], most_levels=2, left_out=["b"])
    bench_data._show(Console(width=100), [row])
    printed = capsys.readouterr().out
    assert "files whose frames differ from torchcodec (exact)'s: a, by at most 2 of 255 levels" in printed
    assert "files that torchcodec (exact) cannot read: b" in printed


def test_the_real_one_gives_the_same_frames(files: list[File]) -> None:
    try:
        check_decoder("torchcodec")
    except UserError as error:
        pytest.skip(str(error))
    rows = list(beside_torchcodec("exact", files, 1))
    assert rows[0].most_levels is not None
    assert rows[0].most_levels <= 2  # another FFmpeg may convert colors by other roundings
    assert [row.left_out for row in rows] == [[], []]
    assert all(row.ours_clips_per_s > 0 < row.peer_clips_per_s for row in rows)
    assert torchcodec_frames("approximate", files[0], 0).shape[0] == 8
