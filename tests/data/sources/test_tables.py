"""Lists with a header: segments, several labels, columns of any name, other roots."""

import logging
from pathlib import Path

import pytest

from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source, read_sources
from videonl.errors import UserError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("x.mp4", "y.mp4", "a b.mp4"):
        (tmp_path / name).touch()
    return tmp_path


def entries_of(place: Path, text: str, columns: str | None = None, prefix: str | None = None) -> list[LabeledPath]:
    (place / "list.csv").write_bytes(text.encode())
    return read_source(str(place / "list.csv"), columns=columns, path_prefix=prefix)


def read(place: Path, text: str, columns: str | None = None) -> list[tuple[str, str | None, str]]:
    return [(Path(str(e.path)).name, e.label, e.split) for e in entries_of(place, text, columns)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("path,start,end,label\nx.mp4,0.5,2,run", "x.mp4#t=0.5,2"),
        ("path,label,start_time,end_time\nx.mp4,run,00:01:23.500,1:30", "x.mp4#t=83.5,90"),
        ("path,label,t_start,t_end\nx.mp4,run,,3", "x.mp4#t=0,3"),
        ("path;label;start_timestamp;stop_timestamp\r\nx.mp4;run;1.5;\r\n", "x.mp4#t=1.5"),
        ("path\tlabel\tfrom\tto\nx.mp4\trun\t1\t2", "x.mp4#t=1,2"),
        ('path label begin end\n"a b.mp4" run 1 2', "a b.mp4#t=1,2"),
        ("path,label,start_frame,end_frame\nx.mp4,run,3,7.0", "x.mp4#frames=3,7"),
        ("path,label,startFrame,endFrame\nx.mp4,run,3,", "x.mp4#frames=3"),
        ("path,label,start,end,start_frame,end_frame\nx.mp4,run,1,2,25,50", "x.mp4#t=1,2"),
        ("path,label,start,end\nx.mp4,run,,", "x.mp4"),
    ],
)
def test_segments(place: Path, text: str, part: str) -> None:
    assert read(place, text) == [(part, "run", "")]


def test_segments_have_splits_and_need_no_label(place: Path) -> None:
    text = "path,start,end,label,split\nx.mp4,0,1,run,train\nx.mp4,1,2,walk,val\n"
    assert read(place, text) == [("x.mp4#t=0,1", "run", "train"), ("x.mp4#t=1,2", "walk", "val")]
    assert [str(e.path) for e in read_source(f"{place}/list.csv#validation")] == [f"{place}/x.mp4#t=1,2"]
    assert read(place, "path,start,end\nx.mp4,0,1\n") == [("x.mp4#t=0,1", None, "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,start,end\nx.mp4,run,2,1", r":2: the end 1 is not after the start 2"),
        ("path,label,start,end\nx.mp4,run,2,2", r":2: the end 2 is not after the start 2"),
        ("path,label,start,end\nx.mp4,run,-1,2", r":2: the start '-1' is no time: write seconds, or HH:MM:SS\.mss"),
        ("path,label,start,end\nx.mp4,run,1,two", r":2: the end 'two' is no time"),
        ("path,label,start_frame,end_frame\nx.mp4,run,0,1.5", r":2: the end '1\.5' is no number of a frame"),
        (
            "path,label,start,end\nx.mp4,run,1,2\ny.mp4,run,1,2\nx.mp4,run,1.0,2",
            r":4: is the same segment and .*csv:2\.",
        ),
        ("path,label,start,duration\nx.mp4,run,1,2", r":1: the column start needs the other end.*start=NAME,end=NAME"),
        ("path,label,time,end\nx.mp4,run,1,2", r":1: the column end needs the other end"),
        (
            "path,start,end,verb\nx.mp4,0,1,take",
            r":1: no column of labels .*verb would be one of a class.*:2 has 'take'",
        ),
        ("path,run,fps\nx.mp4,1,25", r":1: 3 columns and no header"),
        ("path,run,fps,split\nx.mp4,1,25,train", r":1: no column of labels .*columns path, run, fps, split: fps would"),
    ],
)
def test_what_is_refused_and_how(place: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(place, text)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("path,labels\nx.mp4,a;b;a\ny.mp4,c", ['["a", "b"]', "c"]),
        ("path,labels\nx.mp4,a;b\ny.mp4,", ['["a", "b"]', "[]"]),
        ('path,tags\nx.mp4,"[""a, b"", ""c""]"\ny.mp4,[]', ['["a, b", "c"]', "[]"]),
        ("path,label\nx.mp4,\"['a', 'b']\"\ny.mp4,c", ['["a", "b"]', "c"]),
        ("path,run,wave\nx.mp4,1,1\ny.mp4,0,0", ['["run", "wave"]', "[]"]),
        ("wave,path,split,run\n0.0,x.mp4,train,1.0\n1,y.mp4,train,1", ["run", '["wave", "run"]']),
        ("path,run,wave\nx.mp4,True,False\ny.mp4,False,True", ["run", "wave"]),
        (",path,start,end,run,wave\n0,x.mp4,0,1,1,1\n1,y.mp4,0,1,1,0", ['["run", "wave"]', "run"]),
        ("path,label\nx.mp4,[a\ny.mp4,b]", ["[a", "b]"]),  # half a list is a label like any other
        ("x.mp4 1 3 5\ny.mp4 2\n", ['["1", "3", "5"]', "2"]),
    ],
)
def test_several_labels(place: Path, text: str, labels: list[str]) -> None:
    assert [label for _, label, _ in read(place, text)] == labels


def test_several_numbers_are_named_by_a_file(place: Path) -> None:
    (place / "classes.txt").write_text("run\nwalk\nhop\n")
    entries = entries_of(place, "path,label\nx.mp4,2;0\ny.mp4,1\n")
    assert [(entry.label, entry.number) for entry in entries] == [('["hop", "run"]', '["2", "0"]'), ("walk", "1")]
    with pytest.raises(UserError, match=r"list\.csv:2: label 3 is not a class number"):
        entries_of(place, "path,label\nx.mp4,2;3\n")


def test_columns_are_named_by_an_option(place: Path) -> None:
    text = "Datei;Klasse;von;bis;Fold;label\nx.mp4;run;1;2;a;7\n"
    columns = "path=Datei,label=klasse,start=von,end=bis,split=Fold"
    assert read(place, text, columns) == [("x.mp4#t=1,2", "run", "a")]
    assert read(place, "path,label,start,end\nx.mp4,run,0,3\n", "start=,end=") == [("x.mp4", "run", "")]
    assert read(place, "path,label,tags\nx.mp4,run,a;b\n", "label=tags") == [("x.mp4", '["a", "b"]', "")]
    assert read(place, "path,label\nx.mp4,run\n", "label=") == [("x.mp4", None, "")]
    assert read(place, "youtube_id,label,time_start,time_end\nx.mp4,run,0,10\n", "path=youtube_id,start=,end=") == [
        ("x.mp4", "run", "")
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("label=class", r"list\.csv:1: --data\.columns names class, but the columns are path, verb"),
        ("label:verb", r"--columns\) label:verb: 'label:verb' must be KEY=NAME"),
        ("labels=verb", r"KEY one of path, label, split, start"),
        ("label=verb,label=path", "names label twice"),
        ("label=verb,start=verb", r":1: the column verb needs the other end of each segment"),
    ],
)
def test_columns_that_are_not_there(place: Path, columns: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        entries_of(place, "path,verb\nx.mp4,run\n", columns)


def test_absolute_paths_get_another_root(place: Path) -> None:
    text = "/data/k400/val/x.mp4 0\n/data/k400/val/y.mp4 1\n"
    for new in (f"{place}", f"{place}/"):
        entries = entries_of(place, text, prefix=f"/data/k400/val={new}")
        assert [str(entry.path) for entry in entries] == [f"{place}/x.mp4", f"{place}/y.mp4"]
    assert [str(e.path) for e in entries_of(place, text, prefix="/data/k400/val/=")] == [
        f"{place}/x.mp4",
        f"{place}/y.mp4",
    ]
    for prefix, message in (
        ("/data/k40=/mnt", r"no path begins with /data/k40, .* the first is /data/k400/val/x\.mp4"),
        ("/data/k400", "must be OLD=NEW"),
        ("=/mnt", "must be OLD=NEW"),
    ):
        with pytest.raises(UserError, match=message):
            entries_of(place, text, prefix=prefix)
    with pytest.raises(UserError, match=r"none of the first files.*give --data\.path-prefix OLD=NEW"):
        entries_of(place, text)


def test_rows_that_repeat_a_file_or_contradict_are_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(entries_of(place, "x.mp4,run\nx.mp4,run\nx.mp4,wave\n")) == 3
    repeated, contradicting = caplog.messages
    assert "1 rows repeat another one, and count again" in repeated and "list.csv:1 and" in repeated
    assert "1 rows give another label to the same place" in contradicting and "list.csv:3" in contradicting
    caplog.clear()
    entries_of(place, "path,label,split\nx.mp4,run,train\nx.mp4,run,val\n")
    assert caplog.messages == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_every_separator_honors_quotes(place: Path, separator: str, end: str) -> None:
    rows = [["path", "label", "split"], ['"a b.mp4"', f'"eating{separator}a lot"', "train"]]
    text = "\ufeff" + end.join(separator.join(row) for row in rows) + end
    label = '["eating", "a lot"]' if separator == ";" else f"eating{separator}a lot"  # a;b are two
    assert read(place, text) == [("a b.mp4", label, "train")]


def test_options_hold_for_several_sources(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train", "val"):
        (place / f"{name}.csv").write_text("Datei,Klasse\n/old/x.mp4,run\n")
    with caplog.at_level(logging.WARNING):
        entries = read_sources(
            f"{place}/train.csv,{place}/val.csv", None, None, "path=Datei,label=Klasse", f"/old={place}"
        )
    assert [(e.path, e.label, e.split) for e in entries] == [(place / "x.mp4", "run", s) for s in ("train", "val")]
