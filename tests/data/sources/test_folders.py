from pathlib import Path

import pytest

from videonl.data.sources.labelled import read_source
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
