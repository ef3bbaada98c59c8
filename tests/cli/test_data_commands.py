"""``videonl index``, ``doctor`` and ``prepare``, from a messy folder to a training."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Videonl = Callable[..., object]


@pytest.fixture(scope="module")
def messy(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and validation clips with a copy in both, a file that is no video, and one that is missing."""
    folder = tmp_path_factory.mktemp("messy")
    for split in ("train", "val"):
        shutil.copytree(clips / split, folder / "videos" / split)
    first = min((folder / "videos" / "train" / "sum_0").iterdir())
    shutil.copy(first, folder / "videos" / "val" / "sum_0" / "leak.mp4")
    (folder / "videos" / "train" / "sum_1" / "broken.mp4").write_bytes(b"no video" * 99)
    return folder


def test_from_a_messy_folder_to_a_training(videonl: Videonl, messy: Path, small_config: Path, tmp_path: Path) -> None:
    index = messy / "index.parquet"
    ran = videonl("index", messy / "videos", "-o", index, "--num-workers=2")
    assert ran.code == 0
    assert "22 videos: 21 ok, 1 broken" in ran.text
    assert "broken: 1" in ran.text and "videos/train/sum_1/broken.mp4: cannot be" in ran.text
    assert "exact duplicates in several splits: 1" in ran.text and "leak.mp4 (val, sum_0)" in ran.text
    assert videonl("index", messy / "videos", "-o", index, "--strict").code == 1

    ran = videonl("doctor", index, "--clips-per-second", 50, "--num-sampled", 5, "--cost")
    assert ran.code == 0
    assert "leakage: exact duplicates in several splits: 1" in ran.text
    assert "labels without a usable training video: none" in ran.text
    assert "for 50 clips/s: --data.loading.num_workers" in ran.text
    assert re.search(r"estimated from 5 of \d+ files, by their frames: `videonl prepare` takes [\d.]+ core-s", ran.text)
    assert re.search(r"at 50 clips/s an epoch takes [\d.]+ seconds, and \d+ workers decode as many of prep", ran.text)

    ran = videonl("prepare", index, tmp_path / "prepared", "--short_side_px", 32, "--key-frame-every", 4, "--shards")
    assert ran.code == 0
    assert "1 of 22 videos are broken or missing, and left out" in ran.text
    assert "packed 21 videos into 2 shards" in ran.text
    again = videonl("doctor", tmp_path / "prepared", "--num-sampled", 0, "--json")
    report = json.loads(again.text)
    assert (report["status"], report["codecs"]) == ({"ok": 21}, {"mov/h264": 21})
    assert report["splits"]["train"]["usable"] == 13

    prepared, shards = tmp_path / "prepared", tmp_path / "prepared" / "shards"
    sources = [
        "--data.train",
        f"{shards}#train",
        "--data.val",
        f"{prepared}#val",
        "--data.test=null",
        "--run.dir",
        tmp_path / "run",
    ]
    assert videonl("fit", "--config", small_config, *sources).code == 0
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_a_training_leaves_out_broken_videos_and_says_so(
    videonl: Videonl, messy: Path, small_config: Path, tmp_path: Path
) -> None:
    index = messy / "other.parquet"
    videonl("index", messy / "videos", "-o", index, "--check", "packets")
    sources = [
        "--data.train",
        f"{index}#train",
        "--data.val",
        f"{index}#val",
        "--data.test=null",
        "--run.dir",
        tmp_path / "run",
    ]
    ran = videonl("fit", "--config", small_config, *sources)
    assert ran.code == 0
    assert f"{index}: 1 of 14 videos are broken or missing, and left out" in ran.text


def test_missing_files_of_a_list_are_listed(videonl: Videonl, clips: Path, tmp_path: Path) -> None:
    video = next((clips / "train").glob("*/*.mp4"))
    (tmp_path / "a.csv").write_text(f"{video} 1\n{tmp_path}/gone.mp4 2\n")
    (tmp_path / "b.csv").write_text(f"{video} 1\n")
    ran = videonl("index", f"{tmp_path}/a.csv,{tmp_path}/b.csv", "-o", tmp_path / "i.parquet", "--check", "packets")
    assert ran.code == 0
    assert "3 videos: 2 ok, 1 missing" in ran.text
    assert (tmp_path / "i.missing.txt").read_text() == "gone.mp4\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["index", "nowhere"], "nowhere: no such folder or list file"),
        (["index", ".", "-o", "index.csv"], "index.csv: an index must be named *.parquet"),
        (["index", ".", "--root", "nowhere"], "nowhere: no such folder. Correct --root"),
        (["doctor", "nowhere.parquet"], "nowhere.parquet: cannot be read as an index"),
        (["doctor", "nowhere.parquet", "--num-frames", "0"], "num_frames must be at least 1, got 0"),
        (["prepare", "nowhere.parquet", "out", "--crf", "99"], "crf must be from 0 to 51, got 99"),
        (["prepare", "nowhere.parquet", "out"], "nowhere.parquet: cannot be read as an index"),
    ],
)
def test_mistakes(
    videonl: Videonl, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = videonl(*words)
    assert ran.code == 2
    assert message in ran.text
    assert "Traceback" not in ran.text


def test_lists_of_splits_are_indexed_together(videonl: Videonl, messy: Path, tmp_path: Path) -> None:
    videos = sorted((messy / "videos" / "train" / "sum_0").iterdir())[:3]
    for name, listed in (("train", videos[:2]), ("val", videos[1:])):
        (tmp_path / f"{name}.csv").write_text("filename,class\n" + "".join(f"{video},0\n" for video in listed))
    (tmp_path / "classes.txt").write_text("sum_0\nsum_1\n")
    out = tmp_path / "index.parquet"
    ran = videonl("index", f"{tmp_path}/train.csv,{tmp_path}/val.csv", "-o", out, "--check", "packets")
    assert ran.code == 0
    assert (
        "exact duplicates in several splits: 1" in ran.text
        and "(train, sum_0)" in ran.text
        and "(val, sum_0)" in ran.text
    )
    assert "clips of one" not in ran.text
    videonl("index", tmp_path / "train.csv", "-o", tmp_path / "alone.parquet", "--check", "packets")
    ran = videonl("doctor", tmp_path / "alone.parquet", "--num-sampled", 0)
    assert "leakage: exact duplicates in several splits: unknown, all videos are in one split (none)" in ran.text
