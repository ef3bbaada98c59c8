import re
from pathlib import Path

import pytest

from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source
from videonl.data.sources.labels import assign, class_list, leave_out_wrong_labels
from videonl.data.sources.videos import read_videos
from videonl.data.video import Video
from videonl.errors import UserError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def write_list(tmp_path: Path, text: str, name: str = "list.csv", files: str = "x.mp4") -> str:
    for file in files.split(";"):
        touch(tmp_path / file)
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def pairs(labeled: list[LabeledPath]) -> list[tuple[str, str]]:
    return [(entry.path.name, entry.label) for entry in labeled]


def test_class_folders_are_sorted_and_hidden_and_other_files_left_out(tmp_path: Path) -> None:
    for name in ("walk/b.MP4", "walk/a.avi", "run/c.webm", "run/notes.txt", "run/.d.mp4", ".cache/e.mp4"):
        touch(tmp_path / name)
    labeled = read_source(str(tmp_path))
    assert pairs(labeled) == [("c.webm", "run"), ("a.avi", "walk"), ("b.MP4", "walk")]
    assert labeled[0].origin == str(tmp_path / "run" / "c.webm")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x.mp4 3\nx.mp4 10", [("x.mp4", "3"), ("x.mp4", "10")]),
        ("# note\n\nx.mp4,walk the dog\n", [("x.mp4", "walk the dog")]),
        ("a b.mp4 3", [("a b.mp4", "3")]),
        ("a,b.mp4 3", [("a,b.mp4", "3")]),
        ("a b.mp4, walk", [("a b.mp4", "walk")]),
        ('"a,b.mp4",walk', [("a,b.mp4", "walk")]),
        ("path label\nx.mp4 3", [("x.mp4", "3")]),
        ("\ufeffscene,Label,path\n7,walk,x.mp4", [("x.mp4", "walk")]),
        ("name 3", [("name", "3")]),
    ],
)
def test_list_formats(tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    source = write_list(tmp_path, text, files="x.mp4;a b.mp4;a,b.mp4;name")
    assert pairs(read_source(source)) == expected


def test_origin_counts_skipped_lines(tmp_path: Path) -> None:
    source = write_list(tmp_path, "# note\n\npath,label\nx.mp4,1\n")
    assert read_source(source)[0].origin == f"{source}:4"


def test_split_selects_rows(tmp_path: Path) -> None:
    source = write_list(tmp_path, "path,label,split\nx.mp4,1,train\nx.mp4,2,val\nx.mp4,3,train\n")
    assert [entry.label for entry in read_source(f"{source}#train")] == ["1", "3"]
    assert [entry.label for entry in read_source(source)] == ["1", "2", "3"]
    with pytest.raises(UserError, match=r"no rows with split 'test'.*train, val"):
        read_source(f"{source}#test")


def test_split_needs_its_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="column 'split'"):
        read_source(write_list(tmp_path, "path,label\nx.mp4,1") + "#train")
    with pytest.raises(UserError, match="folder"):
        read_source(f"{tmp_path}#train")


def test_root_moves_source_and_paths(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / "x.mp4")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("videos/x.mp4 1")
    (labeled,) = read_source("lists/train.txt", root=tmp_path)
    assert labeled.path == tmp_path / "videos" / "x.mp4"
    with pytest.raises(UserError, match=r"--data\.root"):
        read_source(str(lists / "train.txt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.mp4 1\nx.mp4", r"list\.csv:2: needs a path and a label"),
        ("x.mp4,1\nx.mp4,", r"list\.csv:2: needs a path and a label"),
        ("path,label\n,walk", r"list\.csv:2: needs a path and a label"),
        ("x.mp4,1,2", r"list\.csv:1: 3 columns and no header"),
        ("# nothing", r"list\.csv: no videos listed"),
        ("gone.mp4 1", r"gone\.mp4.*--data\.root"),
    ],
)
def test_malformed_lists_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_source(write_list(tmp_path, text))


def test_a_video_is_not_a_list(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"\xff\xf1\x00\x9f")
    with pytest.raises(UserError, match=r"x\.mp4: not a text file"):
        read_source(str(tmp_path / "x.mp4"))


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone: no such folder or list file"):
        read_source(str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"nowhere: no such folder.*--data\.root"):
        read_source("x", root=tmp_path / "nowhere")
    with pytest.raises(UserError, match="no class folders"):
        read_source(str(tmp_path))
    touch(tmp_path / "walk" / "a.mp4")
    touch(tmp_path / "empty" / "notes.txt")
    with pytest.raises(UserError, match="empty: no videos in this class folder"):
        read_source(str(tmp_path))


def test_classes_sort_as_numbers_only_if_all_are() -> None:
    assert class_list(["10", "9", "10", "-1"]) == ["-1", "9", "10"]
    assert class_list(["10", "9", "b", "a"]) == ["10", "9", "a", "b"]


def test_assign_gives_indices_and_names_a_foreign_label() -> None:
    labeled = [LabeledPath(Path("x.mp4"), "walk", "list.csv:1"), LabeledPath(Path("y.mp4"), "fly", "list.csv:2")]
    assert assign(labeled[:1], ["run", "walk"]) == [Video(Path("x.mp4"), 1)]
    with pytest.raises(UserError, match=r"list\.csv:2: label 'fly' .*2 classes \(run, walk\)"):
        assign(labeled, ["run", "walk"])


def test_a_few_wrong_labels_are_named_and_left_out_and_many_refused(caplog: pytest.LogCaptureFixture) -> None:
    good = [LabeledPath(Path("x.mp4"), "walk", f"list.csv:{line}") for line in range(1, 8)]
    wrong = [LabeledPath(Path("y.mp4"), "fly", f"list.csv:{line}") for line in range(8, 14)]
    assert leave_out_wrong_labels(good + wrong[:5], ["run", "walk"], 0.0) == good
    assert [record.getMessage() for record in caplog.records] == [
        f"skipped list.csv:{line}: label 'fly' is not one of the 2 classes (run, walk)" for line in range(8, 13)
    ]
    with pytest.raises(UserError, match=r"6 of 13 training videos .* share of 0.4 .*\n  list\.csv:8: label 'fly'"):
        leave_out_wrong_labels(good + wrong, ["run", "walk"], 0.4)
    assert leave_out_wrong_labels(good + wrong, ["run", "walk"], 0.5) == good
    with pytest.raises(UserError, match="2 of 2 training videos have a wrong label or none"):  # none would be left
        leave_out_wrong_labels(wrong[:2], ["run", "walk"], 0.5)


@pytest.mark.parametrize("option", [{"columns": "path=a"}, {"path_prefix": "/a=/b"}])
def test_options_about_lists_are_refused_for_other_sources(tmp_path: Path, option: dict[str, str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.mp4").touch()
    (tmp_path / "run_test_split1.txt").write_text("a.mp4 1\n")
    (tmp_path / "index.parquet").touch()
    name = f"--data.{next(iter(option)).replace('_', '-')}"
    for source, kind in (
        (tmp_path / "run", "a folder of videos"),
        (tmp_path / "*_test_split1.txt", "a split of HMDB51"),
        (tmp_path / "index.parquet", "an index"),
        ("python:own.videos:x", "a function of your own"),
        ("https://a/index.parquet", "an index"),
    ):
        with pytest.raises(UserError, match=rf"{re.escape(str(source))}: is {kind}.*, to which {name} does not apply"):
            read_source(str(source), **option)
    with pytest.raises(UserError, match=rf"a\.mp4: is a video, to which {name} does not apply"):
        read_videos([tmp_path / "run" / "a.mp4"], **option)
