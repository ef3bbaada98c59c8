"""``videonl bench data`` on two small files, end to end, and mistakes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videonl.cli.main import main

pytest.importorskip("decord")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # pytorchvideo's
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def folder(tmp_path: Path, encode_video: Callable[..., Path]) -> Path:
    for name, num_frames in (("a.mp4", 61), ("b.mkv", 67), ("short.mp4", 5)):
        encode_video(tmp_path / "videos" / name, num_frames=num_frames)
    (tmp_path / "videos" / "notes.txt").write_text("no video")
    return tmp_path / "videos"


def test_json_is_one_object_a_line(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    assert main(["bench", "data", str(folder), "--num_clips", "3", "--memory_reads", "23", "--json"]) == 0
    printed = capfd.readouterr()
    assert "torchcodec is left out, as it cannot be imported" in printed.err
    assert "(apt-get install ffmpeg)" in printed.err
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert {row["bench"] for row in rows} == {"data"}
    compared = [row for row in rows if "ratio" in row]
    assert [(row["case"], row["peer"]) for row in compared] == [
        ("raw, frames alone", "decord"),
        ("raw", "decord"),
        ("raw, indexed", "decord"),
        ("raw", "pytorchvideo (decord)"),
        ("raw", "pytorchvideo (pyav)"),
        ("prepared", "decord, raw"),
        ("prepared, indexed", "decord, raw"),
        ("prepared", "decord, prepared"),
        ("raw, test views", "decord, clip by clip"),
    ]
    for row in compared:
        ratio = pytest.approx(row["ours_clips_per_s"] / row["peer_clips_per_s"])
        assert row["ratio"] == (None if row["unstable"] else ratio)
        assert row["rounds"] == (1 if "views" in row["case"] else 3)
        assert row["ours_frames_per_s"] == pytest.approx(8 * row["ours_clips_per_s"])
        assert row["num_clips"] == (20 if "views" in row["case"] else 6)
    assert (compared[0]["differing"], compared[0]["most_levels"], compared[0]["left_out"]) == ([], 0, [])
    for row, case in zip(rows[9:11], ("stages, raw", "stages, prepared"), strict=True):
        assert row.pop("case") == case
        assert {name for name in row if name.endswith("_ms")} == {
            f"{stage}_ms" for stage in ("read", "open", "decode", "color", "resize", "collate")
        }
    memory = rows[11]
    assert memory["growth"] == pytest.approx(memory["after_mib"] / memory["before_mib"] - 1)
    assert memory["num_reads"] == 23


def test_the_table_begins_with_the_machine(videonl: Callable[..., Any], folder: Path) -> None:
    code, text = videonl("bench", "data", folder, "--num_clips", 1)
    assert code == 0
    assert " threads" in text[: text.index("clips per second")]
    assert "files whose frames differ from decord's: none" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{nowhere}"], "nowhere: no such folder. Name one with videos in it."),
        (["{empty}"], "empty: no H.264 file of at least 57 frames in it"),
        (["{empty}", "--num_clips", "0"], "--num_clips must be at least 1, got 0"),
    ],
)
def test_mistakes_are_named(videonl: Callable[..., Any], tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"nowhere": tmp_path / "nowhere", "empty": tmp_path / "empty"}
    code, text = videonl("bench", "data", *(word.format(**places) for word in options))
    assert code == 2
    assert message in text
