"""Segments of long videos through a whole project: index, doctor, prepare, shards, clips, evaluation."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from videonl.data.dataset import EvaluationVideos, TrainingClips, even_frames
from videonl.data.indexing.examine import make_index
from videonl.data.indexing.findings import beyond_the_end, copies, leaks, overlapping_splits, shared_clips
from videonl.data.indexing.index_file import read_index as read_rows
from videonl.data.indexing.index_report import report_of
from videonl.data.preparing.encoding import Encoding
from videonl.data.preparing.prepare import prepare
from videonl.data.preparing.shards import write_shards
from videonl.data.reading import scan
from videonl.data.reading.decoding import open_video
from videonl.data.reading.segment import Segment, part_of
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source
from videonl.data.sources.labels import assign
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import PackedVideos

Encode = Callable[..., Path]
ReadIndex = Callable[[torch.Tensor], int]
ReadIndices = Callable[[torch.Tensor], list[int]]
WHOLE = ClipFormat(num_frames=3, stride_frames=2, short_side_px=46, crop_px=46)
CLASSES = ["run", "walk"]


def entries(path: Path, *rows: tuple[Segment | None, str, str]) -> list[LabeledPath]:
    return [
        LabeledPath(part_of(path, segment), label, f"list.csv:{line}", split)
        for line, (segment, label, split) in enumerate(rows, start=2)
    ]


@pytest.fixture
def match(tmp_path: Path, encode_video: Encode) -> list[LabeledPath]:
    """Four segments of a video of 97 frames, 24 a second: two of training, by seconds, and two others, by frames."""
    path = encode_video(tmp_path / "videos" / "match.mp4", num_frames=97, options={"g": "12"})
    return entries(
        path,
        (Segment(0.5, 1.0), "run", "train"),
        (Segment(1.0, 1.5), "walk", "train"),
        (Segment(53, 71, in_frames=True), "run", "val"),
        (Segment(71, in_frames=True), "walk", "val"),
    )


FRAMES = [range(12, 24), range(24, 36), range(53, 71), range(71, 97)]


@pytest.fixture
def index(match: list[LabeledPath], tmp_path: Path) -> Path:
    make_index(match, tmp_path / "index.parquet", "decode")
    return tmp_path / "index.parquet"


def shown(source: Sequence[LabeledPath], read_index: ReadIndex) -> list[list[int]]:
    """For each entry the frames that its reader shows."""
    found = []
    for entry in source:
        with open_video(entry.path) as reader:
            found.append([read_index(frame) for frame in reader.read(range(reader.num_frames))])
    return found


def test_an_index_keeps_segments_and_examines_their_file_once(
    match: list[LabeledPath], tmp_path: Path, read_index: ReadIndex
) -> None:
    done: list[tuple[int, int]] = []
    rows = make_index(match, tmp_path / "index.parquet", "decode", progress=lambda *each: done.append(each))
    assert done == [(1, 1)]
    assert [(row.start, row.end, row.start_frame, row.end_frame) for row in rows] == [
        (0.5, 1.0, None, None),
        (1.0, 1.5, None, None),
        (None, None, 53, 71),
        (None, None, 71, None),
    ]
    assert {row.num_frames for row in rows} == {97} and {row.status for row in rows} == {"ok"}
    assert rows == read_rows(tmp_path / "index.parquet")
    source = read_source(str(tmp_path / "index.parquet"))
    assert [entry.path for entry in source] == [entry.path for entry in match]
    assert shown(source, read_index) == list(map(list, FRAMES))
    again = make_index(match[:2], tmp_path / "index.parquet", "decode", progress=lambda *each: done.append(each))
    assert again == rows[:2] and done == [(1, 1)]


def test_training_and_views_stay_within_the_segment(index: Path, read_indices: ReadIndices) -> None:
    videos = assign(read_source(str(index)), CLASSES)
    clips = TrainingClips(videos, WHOLE, lambda frames, label: frames.transpose(0, 1))
    for number, frames in enumerate(FRAMES):
        firsts = {tuple(read_indices(clips[epoch, number]["clip"][0])) for epoch in range(40)}
        assert firsts <= {(start, start + 2, start + 4) for start in frames} and len(firsts) > 4
        assert all(set(clip) <= set(frames) for clip in firsts)
    with videos[0].open() as reader:
        both = [reader.read(clip).permute(3, 0, 1, 2) for clip in even_frames(reader, WHOLE, num_clips=2)]
    assert [read_indices(clip) for clip in both] == [[12, 14, 16], [19, 21, 23]]
    views = EvaluationVideos(videos, WHOLE, Views(num_clips=2))[0]
    assert views["path"].endswith("match.mp4#t=0.5,1") and len(views["clip"]) == 2  # type: ignore[typeddict-item]


def test_frame_tables_are_made_once_and_kept_once(
    match: list[LabeledPath], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[object] = []
    listed = scan.scan
    monkeypatch.setattr(scan, "scan", lambda path: scanned.append(path) or listed(path))
    scan._kept.clear()
    clips = EvaluationVideos(assign(match, CLASSES), WHOLE, Views())
    assert [item["video"] for item in (clips[0], clips[1], clips[2])] == [0, 1, 2]  # type: ignore[typeddict-item]
    assert len(scanned) == 1
    videos = assign(read_source(str(index)), CLASSES)
    many = [replace(video, label=number % 2) for number, video in enumerate(videos * 500)]
    table = len(videos[0].frame_table)
    assert table > 100 and list(PackedVideos(many)) == many
    assert PackedVideos(many)._shared.view.nbytes < 2000 * 500 and PackedVideos(many[:4])[3] == many[3]


@pytest.mark.parametrize("cut", [False, True])
def test_prepared_segments_show_the_same_frames(index: Path, tmp_path: Path, read_index: ReadIndex, cut: bool) -> None:
    rows, failed = prepare(index, tmp_path / "out", Encoding(short_side_px=34, key_frame_every=5), cut=cut)
    assert failed == []
    names = ["match_t0.5-1.mp4", "match_t1-1.5.mp4", "match_frames53-71.mp4", "match_frames71.mp4"]
    assert [row.path for row in rows] == (names if cut else ["match.mp4"] * 4)
    assert [row.num_frames for row in rows] == ([12, 12, 18, 26] if cut else [97] * 4)
    source = read_source(str(tmp_path / "out"))
    assert [(entry.label, entry.split) for entry in source] == [
        ("run", "train"),
        ("walk", "train"),
        ("run", "val"),
        ("walk", "val"),
    ]
    assert shown(source, read_index) == list(map(list, FRAMES))
    with open_video(source[2].path) as reader:
        torch.testing.assert_close(reader.timestamps_seconds, torch.arange(18, dtype=torch.float64) / 24)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mp4")}
    assert prepare(index, tmp_path / "out", Encoding(short_side_px=34, key_frame_every=5), cut=cut)[0] == rows
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert len(shared_clips(rows)) == 1  # clips of one video in several splits, cut or not


def test_shards_hold_a_video_once_for_each_split(index: Path, tmp_path: Path, read_index: ReadIndex) -> None:
    rows = write_shards(index, tmp_path / "shards")
    assert [row.split for row in rows] == ["train", "train", "val", "val"]
    assert rows[0].offset_bytes == rows[1].offset_bytes and rows[0].shard == rows[1].shard == "train-000000.tar"
    size = rows[0].num_bytes
    assert size is not None and (tmp_path / "shards" / "train-000000.tar").stat().st_size < 2 * size + 20_000
    source = read_source(str(tmp_path / "shards"))
    assert shown(source, read_index) == list(map(list, FRAMES))
    described = (tmp_path / "shards" / "train-000000.tar").read_bytes()[512:1024].rstrip(b"\0")
    assert [segment["start"] for segment in json.loads(described)["segments"]] == [0.5, 1.0]


def test_doctor_names_segments_that_lie_outside_are_empty_or_overlap_across_splits(
    tmp_path: Path, encode_video: Encode
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=97)
    rows = make_index(
        entries(
            path,
            (Segment(0, 2), "run", "train"),
            (Segment(1.9, 3), "walk", "val"),
            (Segment(1, 1.5), "walk", "train"),
            (Segment(3, 9), "run", "val"),
            (Segment(5, 6), "run", "val"),
            (Segment(2.01, 2.02), "run", "train"),
            (Segment(3, 9), "run", "val"),
        ),
        tmp_path / "index.parquet",
        "decode",
    )
    assert [row.status for row in rows] == ["ok"] * 4 + ["broken"] * 2 + ["ok"]
    assert rows[4].reason == "the segment has no frames; the video has 97 frames in 4.042 s"
    (overlap,) = overlapping_splits(rows)
    assert [row.name for row in overlap.records] == ["a.mp4#t=0,2", "a.mp4#t=1.9,3"]
    assert [row.name for row in beyond_the_end(rows)] == ["a.mp4#t=3,9"] * 2
    assert [len(group.records) for group in copies(rows)] == [2] and leaks(rows) == []
    report = report_of(rows)
    assert (report["num_videos"], report["num_segments"], report["num_files"]) == (7, 7, 1)
    assert report["overlaps"] == ["a.mp4#t=0,2 (train, run) = a.mp4#t=1.9,3 (val, walk)"]
    assert report["beyond"][0] == "a.mp4#t=3,9: the video has 4.042 s"
    assert report["splits"]["train"]["seconds"] == pytest.approx(2 + 0.5)
    assert report["splits"]["train"]["bytes"] == path.stat().st_size
    mended = make_index(entries(path, (None, "run", "train")), tmp_path / "index.parquet", "decode")
    assert [(row.status, row.segment) for row in mended] == [("ok", None)]


def test_every_segment_of_a_file_that_cannot_be_read_counts(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    listed = entries(tmp_path / "a.mp4", (Segment(0, 1), "run", ""), (Segment(1, math.inf), "walk", ""))
    videos = EvaluationVideos(assign(listed, CLASSES), WHOLE, Views())
    failed = [failure.path for number in range(2) for failure in videos[number]["failures"]]  # type: ignore[typeddict-item]
    assert failed == [f"{tmp_path / 'a.mp4'}#t=0,1", f"{tmp_path / 'a.mp4'}#t=1"]
