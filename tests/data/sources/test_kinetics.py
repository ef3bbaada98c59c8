from pathlib import Path

import pytest

from videonl.data.sources.labeled import read_source
from videonl.errors import UserError

HEADER = "label,youtube_id,time_start,time_end,split\n"
ROWS = """tap dancing,abc_000001,10,20,train
"eating, a lot",-dEf_g,5,15,train
tap dancing,gone,0,10,train
tap dancing,long,130,140,validate
"""


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in (
        "train/tap dancing/abc_000001_000010_000020.mp4",
        "train/eating, a lot/-dEf_g.mkv",
        "train/tap dancing/long_000130_000140.mp4",
        "validate/tap dancing/long_000130_000140.mp4",
        "train/tap dancing/abc_000001.txt",
    ):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    (tmp_path / "videos" / "again").symlink_to(tmp_path / "videos")
    (tmp_path / "k400.csv").write_text(HEADER + ROWS)
    return tmp_path / "videos"


def test_both_namings_are_found_below_the_root_and_missing_ones_keep_their_place(videos: Path) -> None:
    found = read_source(str(videos.parent / "k400.csv"), root=None)
    assert [str(entry.path.relative_to(videos.parent)) for entry in found] == [
        "videos/train/tap dancing/abc_000001_000010_000020.mp4",
        "videos/train/eating, a lot/-dEf_g.mkv",
        "tap dancing/gone_000000_000010.mp4",
        "videos/validate/tap dancing/long_000130_000140.mp4",
    ]
    assert [entry.label for entry in found] == ["tap dancing", "eating, a lot", "tap dancing", "tap dancing"]
    assert [entry.split for entry in found] == ["train", "train", "train", "validate"]
    assert [entry.clip_id for entry in found] == ["abc_000001", "-dEf_g", "gone", "long"]


def test_split_selects_rows(videos: Path) -> None:
    assert [entry.clip_id for entry in read_source(f"{videos.parent}/k400.csv#validate")] == ["long"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("tap dancing,gone,0,10,train\n", r"none of its 1 clips was found below .*gone_000000_000010\.mp4.*--root"),
        ("tap dancing,,0,10,train\n", r"k400\.csv:2: has no label or no youtube_id"),
        ("tap dancing,abc,ten,10,train\n", r"k400\.csv:2: time_start must be a number of seconds, got 'ten'"),
    ],
)
def test_mistakes_are_named(videos: Path, rows: str, message: str) -> None:
    (videos.parent / "k400.csv").write_text(HEADER + rows)
    with pytest.raises(UserError, match=message):
        read_source(str(videos.parent / "k400.csv"))
