"""Lists as people write them: never a wrong class, never a message that blames what is right."""

import logging
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from videonl.data.sources.labeled import read_source, read_sources
from videonl.data.sources.labels import assign, assign_known, classes_of
from videonl.errors import UserError

SHARED = Path(__file__).resolve().parents[4] / "shared"
FILES = ("x.mp4", "y.mp4", "a b.mp4", "#0 take.mp4", "a\u2028b.mp4", "folder/img_1.jpg", "take 1/img_1.jpg")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(place: Path, text: str) -> list[tuple[str, str | None, str]]:
    (place / "list.csv").write_text(text, encoding="utf-8", newline="")
    return [(entry.path.name, entry.label, entry.split) for entry in read_source(str(place / "list.csv"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("filename,class\nx.mp4,run", [("x.mp4", "run", "")]),
        ("sep=;\npath;label\nx.mp4;run", [("x.mp4", "run", "")]),
        ("Video Path;Class Name;subset\nx.mp4;run;train", [("x.mp4", "run", "train")]),
        ("path\tlabel\tsplit\nx.mp4\tplaying guitar\tval", [("x.mp4", "playing guitar", "val")]),
        ("path split label\nx.mp4 train run", [("x.mp4", "run", "train")]),
        ("label path\nrun x.mp4", [("x.mp4", "run", "")]),
        (",path,label,\n0,x.mp4,run,", [("x.mp4", "run", "")]),
        ("path,label,class_id\nx.mp4,run,3", [("x.mp4", "run", "")]),
        ("x.mp4\tplaying guitar\ny.mp4\trun", [("x.mp4", "playing guitar", ""), ("y.mp4", "run", "")]),
        ("x.mp4;run", [("x.mp4", "run", "")]),
        ("\"a b.mp4\" run\n'x.mp4' walk", [("a b.mp4", "run", ""), ("x.mp4", "walk", "")]),
        ('x.mp4 "playing guitar"\n"a b.mp4" "run"', [("x.mp4", "playing guitar", ""), ("a b.mp4", "run", "")]),
        ('"a b.mp4","eating, a lot"', [("a b.mp4", "eating, a lot", "")]),
        ('"#0 take.mp4",run', [("#0 take.mp4", "run", "")]),
        ("folder 6 run\ntake 1 163 7", [("folder", "run", ""), ("take 1", "7", "")]),
        ("folder\t6\trun", [("folder", "run", "")]),
        ("a\u2028b.mp4,run\r\nx.mp4 play\u00a0ing\r", [("a\u2028b.mp4", "run", ""), ("x.mp4", "play\u00a0ing", "")]),
        ("x.mp4\na b.mp4\nfolder", [("x.mp4", None, ""), ("a b.mp4", None, ""), ("folder", None, "")]),
        ("path,split\nx.mp4,train", [("x.mp4", None, "train")]),
        ("path\nx.mp4\na b.mp4", [("x.mp4", None, ""), ("a b.mp4", None, "")]),
    ],
)
def test_what_is_read(place: Path, text: str, expected: list[tuple[str, str | None, str]]) -> None:
    assert read(place, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datei,klasse\nx.mp4,run\ny.mp4,walk", r":1: 'datei,klasse' looks like a header.*Name the columns path and"),
        ("path,Klasse,fps\nx.mp4,run,25", r":1: 'path,Klasse,fps' looks like|:1: 3 columns and no header"),
        ("path,verb,split\nx.mp4,take,train", r":1: no column of labels \(label\) is among the columns path, verb"),
        ("video,file,label\na,x.mp4,run", r":1: the columns video, file may all be the path"),
        ("path,label,label\nx.mp4,run,walk", r":1: the header names label more than once"),
        ("path,label,start_frame\nx.mp4,run,1", r":1: the column start_frame needs the other end"),
        ("path,label,timeStart\nx.mp4,run,1", r":1: the column timeStart needs the other end"),
        ("path,label,start,end_frame\nx.mp4,run,1,2", r":1: the column start needs .*in the same unit"),
        ("path,label,start_frame,last_frame\nx.mp4,run,1,2", r":1: the column start_frame needs the other end"),
        ("path,label,start_ms,end_ms\nx.mp4,run,1,2", r":1: the columns start_ms, end_ms look like a part.*start=NAME"),
        ("path,label,timestamp\nx.mp4,run,1", r":1: the columns timestamp look like a part of each video, but are not"),
        ("path,label1,label2\nx.mp4,run,1", r":1: the columns label1, label2 look like several columns of labels"),
        ("path,label\nx.mp4,[serve]", r":2: '\[serve\]' is no list of labels\. Write"),
        ("x.mp4 1 3 0", r":1: after x\.mp4 there are 3 words: '1 3 0'.*parts of a video"),
        ("x.mp4 playing guitar", r":1: after x\.mp4 there are 2 words.*needs a comma or a tab"),
        ("folder 6 3 5", r":1: after folder there are 3 words: '6 3 5'"),
        ("path,label\nx.mp4,eating, a lot", r":2: 3 columns, but the header names 2.*double quotes"),
        ('x.mp4,"run\ny.mp4,walk', r":1: .*Correct the line's quotes"),
        ("path,label\nx.mp4," + 200_000 * "l", r":2: field larger than field limit"),
        ("x.mp4,run\na\0b.mp4,walk", r":2: has a NUL byte \('a\\x00b\.mp4,walk'\)"),
        ("x.mp4,run\n" + 300 * "n" + ".mp4,walk", r":2: the file name is too long \(304 bytes"),
        ("rtsp://camera/live.mp4 run", r":1: rtsp://camera/live\.mp4 is a URL"),
        ("C:\\clips\\x.mp4 run", r"none of the first files.*C:\\clips\\x\.mp4 with the label 'run'\. Write / between"),
        ("C:/clips/x.mp4 run", r"none of the first files.*a drive of Windows.*--data\.path-prefix"),
        ("x.mp4|run", r"none of the first files.*'x\.mp4' is there: write the path first"),
        ("run,x.mp4", r"none of the first files.*'x\.mp4' is there: write the path first"),
        ("x.mp4: run", r"none of the first files.*'x\.mp4' is there: write the path first"),
        ("path,label\n'x.mp4',run", r"none of the first files.*'x\.mp4' is there: .*without quotes"),
        ("clip_id,label\nx,run", r"none of the first files.*If that line is a header"),
        ('{"path": "x.mp4"}\n{"path": "y.mp4"}', r"has JSON in every line, which is not read"),
        ("path,verb,noun\nx.mp4,cut,onion", r":1: 3 columns and no header.*--data\.columns"),
        *((f"path,label,{name}\nx.mp4,run,1", f":1: the columns {name} look like a part") for name in ("span", "in")),
        ("/gone/x.mp4 run", r"none of the first files.*absolute, so no root applies to them"),
        ("gone.mp4", r"none of the first files.*gone\.mp4 with no label.*--data\.root"),
        ('{"x.mp4": "run"}', r"is JSON"),
    ],
)
def test_what_is_refused_and_how(place: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(place, text)


@pytest.mark.parametrize(
    ("text", "label", "shown"),
    [
        ("path,label\nx.mp4,serve;smash", '["serve", "smash"]', "serve;smash"),
        ('path,label\nx.mp4,"3,5"', '["3", "5"]', "3;5"),
        ("x.mp4 serve|smash", '["serve", "smash"]', "serve;smash"),
        ('path\tlabels\nx.mp4\t["serve", "smash"]', '["serve", "smash"]', "serve;smash"),
    ],
)
def test_several_labels_are_one_text_and_refused_where_one_is_needed(
    place: Path, text: str, label: str, shown: str
) -> None:
    assert read(place, text) == [("x.mp4", label, "")]
    entries = read_source(str(place / "list.csv"))
    for use in (classes_of, lambda entries: assign(entries, [label]), lambda entries: assign_known(entries, [label])):
        with pytest.raises(UserError, match=rf"list\.csv:\d: '{shown}' looks like several labels, but only one"):
            use(entries)


def test_comments_that_look_like_videos_are_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(place, "# note\n#0 take.mp4,g\nx.mp4,run\n")
    (told,) = caplog.messages
    assert "1 lines skipped as comments, because they begin with #, look like videos, such as line 2" in told
    caplog.clear()
    read(place, "# path label\n# made by hand\nx.mp4,run\n")
    assert caplog.messages == []


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="../shared/cases is absent")
@pytest.mark.parametrize("name", ["otherhead.csv", "pathclass.csv", "l.tsv", "head.tsv", "quoted.txt"])
def test_lists_that_went_wrong(name: str) -> None:
    entries = read_source(str(SHARED / "cases" / "lists" / name))
    assert [entry.path.name for entry in entries] == [f"a{number}.mp4" for number in range(8)]
    two = {
        "otherhead.csv": ("guitar", "run"),
        "l.tsv": ("playing guitar", "run"),
        "head.tsv": ("playing guitar", "run"),
    }
    assert [entry.label for entry in entries] == 4 * list(two.get(name, ("g", "r")))


def test_several_sources_are_splits_by_their_names(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train,1.csv", "k_val.txt", "more.csv"):
        (place / name).write_text("x.mp4,run\n")
    (place / "own.csv").write_text("path,label,split\nx.mp4,run,dev\n")
    names = ",".join(str(place / name) for name in ("train,1.csv", "k_val.txt", "own.csv#dev", "more.csv"))
    assert [entry.split for entry in read_sources(names)] == ["train", "val", "dev", ""]
    assert "1 of 4 videos have no split" in caplog.text
    assert [entry.split for entry in read_sources(str(place / "train,1.csv"))] == [""]
    with pytest.raises(UserError, match=r"gone\.csv: no such folder or list file"):
        read_sources(f"{place}/k_val.txt,{place}/gone.csv")


@pytest.mark.parametrize("name", [5000 * "n", f"{300 * 'n'}#train", "nul\0byte"])
def test_names_that_no_source_can_have(name: str) -> None:
    with pytest.raises(UserError, match="no such folder or list file"):
        read_source(name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("run\nwalk the dog\n3 steps\n", ["run", "walk the dog", "3 steps"]),
        ("1 run\n0 walk the dog\n2 hop", ["walk the dog", "run", "hop"]),
        ("id,name\n0,run\n1,eating, a lot\n2,hop", ["run", "eating, a lot", "hop"]),
        ('id,key,instances\n2,hop,"[1, 2]"\n1,run,[]\n0,"a, b",[]', ["a, b", "run", "hop"]),
    ],
)
def test_files_of_class_names(place: Path, text: str, names: list[str]) -> None:
    (place / "list.csv").write_text("x.mp4,2\ny.mp4,0\na b.mp4,01\n")
    (place / "classes.txt").write_text(text)
    entries = read_source(str(place / "list.csv"))
    assert [entry.label for entry in entries] == [names[2], names[0], names[1]]
    shutil.move(place / "classes.txt", place / "other.txt")
    assert [entry.label for entry in read_source(str(place / "list.csv"))] == ["2", "0", "01"]
    again = read_source(str(place / "list.csv"), classes=place / "other.txt")
    assert [entry.label for entry in again] == [entry.label for entry in entries]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run\nwalk", r"list\.csv:1: label 2 is not a class number in .*classes\.txt"),
        ("run\nrun\nwalk", r"classes\.txt: has run more than once"),
        ("0 run\n0 walk\n1 hop", r"classes\.txt: has 0 more than once"),
        ("# nothing", r"classes\.txt: names no class"),
        ('{"run": 0}', r"classes\.txt: is JSON"),
    ],
)
def test_class_names_that_do_not_fit(place: Path, text: str, message: str) -> None:
    (place / "list.csv").write_text("x.mp4,2\n")
    (place / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_source(str(place / "list.csv"))


def test_classes_that_look_alike_are_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    (place / "list.csv").write_text("path,label\nx.mp4,cafe\u0301\ny.mp4,Caf\u00e9\n", encoding="utf-8")
    assert classes_of(read_source(str(place / "list.csv"))) == ["Caf\u00e9", "cafe\u0301"]
    assert r"the classes 'Caf\xe9' and 'cafe\u0301' differ in capitals, spaces or invisible" in caplog.text


def test_labels_that_are_names_need_no_file(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    (place / "classes.txt").write_text("something\nelse\n")
    with caplog.at_level(logging.INFO):
        assert read(place, "x.mp4,run\ny.mp4,3\n") == [("x.mp4", "run", ""), ("y.mp4", "3", "")]
    assert caplog.messages == []
    read_source(str(place / "list.csv"), classes=place / "classes.txt")
    assert "names none of the labels, which are no numbers, such as 'run'" in caplog.text


@pytest.mark.slow
def test_no_text_is_a_traceback_or_a_class_that_is_a_video(place: Path) -> None:
    words = [
        "x.mp4",
        "y.mp4",
        "a b.mp4",
        "folder",
        "path",
        "label",
        "class",
        "split",
        "start",
        "youtube_id",
        "time_end",
    ]
    marks = [
        *" \t,;'\"#|/\\~[]{\0\u2028\ufeff\u00b2\u0663",
        "\n",
        "\n",
        "\r\n",
        "  ",
        "memory://",
        300 * "n",
        "7",
        "-1",
    ]
    chance = random.Random(7)
    outcomes = Counter()
    for _ in range(9_973):
        text = "".join(chance.choice([*words, *marks]) for _ in range(chance.randint(0, 13)))
        try:
            read_labels = [label for _, label, _ in read(place, text)]
        except UserError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert not {"x.mp4", "y.mp4", "a b.mp4"} & set(read_labels), text
    assert min(outcomes.values()) > 100
