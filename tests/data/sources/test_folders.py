import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from videonl.data.sources.labeled import read_source
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic
from videonl.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_splits_of_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/walk/a.mp4", "train/run/b.mp4", "val/run/c.mp4")
    found = [(entry.path.name, entry.label, entry.split) for entry in read_source(str(tmp_path))]
    assert found == [("b.mp4", "run", "train"), ("a.mp4", "walk", "train"), ("c.mp4", "run", "val")]
    assert [entry.path.name for entry in read_source(f"{tmp_path}#val")] == ["c.mp4"]
    with pytest.raises(UserError, match=r"no videos of split 'test'. The splits are: train, val"):
        read_source(f"{tmp_path}#test")


def test_a_class_may_be_named_like_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4", "test/b/img_1.jpg")
    assert [(entry.label, entry.split) for entry in read_source(str(tmp_path))] == [("test", ""), ("train", "")]


def test_folders_of_frames_are_videos_and_other_folders_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "walk/one/img_00001.jpg", "walk/two.mp4", "walk/notes/a.txt", "walk/.hidden/img_1.jpg")
    touch(tmp_path, "walk/flow/flow_x_00001.jpg")
    assert [entry.path.name for entry in read_source(str(tmp_path))] == ["one", "two.mp4"]


def test_a_link_to_nothing_is_a_video_that_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "walk/a.mp4")
    (tmp_path / "walk" / "b.mp4").symlink_to(tmp_path / "unmounted" / "b.mp4")
    (tmp_path / "walk" / "notes").symlink_to(tmp_path / "unmounted")
    assert [entry.path.name for entry in read_source(str(tmp_path))] == ["a.mp4", "b.mp4"]


def test_lists_of_folders_of_frames(tmp_path: Path) -> None:
    touch(tmp_path, "some/take 1/img_00001.jpg", "x.mp4")
    (tmp_path / "list.txt").write_text("some/take 1 163 7\nx.mp4 3\n")
    found = [(str(entry.path.relative_to(tmp_path)), entry.label) for entry in read_source(str(tmp_path / "list.txt"))]
    assert found == [("some/take 1", "7"), ("x.mp4", "3")]


def test_what_a_demuxer_opens_is_a_video_and_the_rest_is_counted(
    tmp_path: Path, encode_video: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    video = encode_video(tmp_path / "walk" / "a.mp4", num_frames=3)
    for name in ("b.MTS", "c.ogv", "d.mxf", "no suffix", "e.unknown", "f.txt"):
        shutil.copy(video, video.with_name(name))  # the name is believed, or the content looked at
    touch(tmp_path, "walk/g.m2ts", "walk/notes.md", "walk/.h.mp4", "walk/j.txt", "walk/k", "loose.mp4")
    touch(
        tmp_path, "readme.txt", "README", "labels.csv", "classes.txt", "clips.json", "x.md"
    )  # beside the class folders
    (tmp_path / "walk" / "evil.list").write_text(f"ffconcat version 1.0\nfile {video}\n")
    (tmp_path / "walk" / "i.dat").symlink_to(video)
    found = [entry.path.name for entry in read_source(str(tmp_path))]
    assert found == sorted(["a.mp4", "b.MTS", "c.ogv", "d.mxf", "no suffix", "e.unknown", "f.txt", "g.m2ts", "i.dat"])
    (told,) = (record.message for record in caplog.records if record.name.startswith("videonl"))  # not of PyAV 17
    counts = [
        "1 hidden file",
        "1 file without a video (.md)",
        "1 file without a video (.list)",
        "1 file without a video (.txt)",
        "1 video beside the class folders",
    ]
    assert all(count in told for count in counts)
    assert "labels.csv" not in told and told.count("file") == 5


def test_what_describes_class_folders_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_synthetic(tmp_path / "made", SyntheticSettings(num_train=2, num_val=2, num_test=2))
    assert len(read_source(str(tmp_path / "made"))) == 6
    assert not [record.message for record in caplog.records if record.name.startswith("videonl.data.sources")]
    touch(tmp_path / "made" / "val" / "sum_0", "a.xyz", "b.xyz")
    assert len(read_source(str(tmp_path / "made"))) == 6
    (told,) = (record.message for record in caplog.records if record.name.startswith("videonl.data.sources"))
    assert told.startswith(f"{tmp_path}/made: left out 2 files without a video (.xyz): {tmp_path}/made/val/sum_0/a.xyz")


def test_nested_videos_are_of_the_class_or_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "run/more/b.mp4", "run/more/yet/c.mp4", "run/more/yet/d/img_1.jpg", "walk/e.mp4")
    touch(tmp_path, "run/more/cover.jpg")  # beside a video it makes the folder no video
    (tmp_path / "run" / "more" / "round").symlink_to(tmp_path / "run")
    found = [(str(entry.path.relative_to(tmp_path)), entry.label) for entry in read_source(str(tmp_path))]
    assert found == [
        ("run/a.mp4", "run"),
        ("run/more/b.mp4", "run"),
        ("run/more/yet/c.mp4", "run"),
        ("run/more/yet/d", "run"),
        ("walk/e.mp4", "walk"),
    ]
    touch(tmp_path, "hop/one/f.mp4")
    with pytest.raises(UserError, match=r"hop: no videos in this class folder, only in folders below it, .*f\.mp4"):
        read_source(str(tmp_path))


def test_videos_beside_the_classes_of_a_split_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/walk/a.mp4", "train/b.mp4", "val/walk/c.mp4", "val/d.mp4")
    with pytest.raises(
        UserError, match=r"train: is named like a split, but holds videos such as b\.mp4 beside folders"
    ):
        read_source(str(tmp_path))


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b/img_1.jpg", "notes/c.txt")
    assert [(entry.path.name, entry.label) for entry in read_source(str(tmp_path))] == [("a.mp4", None), ("b", None)]
