"""``videonl split``: from any source to a list whose splits share no group."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videonl.data.indexing.index_file import IndexRow, write_index
from videonl.data.sources.labeled import read_source

Videonl = Callable[..., Any]
SHARES = ("--shares", "0.5,0.25,0.25")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def splits_by(rows: list[dict[str, str]], column: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row[column], set()).add(row["split"])
    return found


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A list of 13 persons with 2 videos of each of 2 classes, and a column that only its owner knows."""
    lines = ["filename;class;Person;light;tags"]
    for person in range(13):
        for take in range(4):
            name = ("run", "walk")[take % 2]
            video = tmp_path / "videos" / f"{name}_p{person}_{take}.mp4"
            video.parent.mkdir(exist_ok=True)
            video.touch()
            lines.append(f"videos/{video.name};{name};p{person};{'day, sunny' if take else 'night'};x")
    path = tmp_path / "people.csv"
    path.write_text("\n".join(lines))
    return path


def test_by_a_column_that_is_kept_with_all_others(videonl: Videonl, people: Path) -> None:
    out = people.with_name("split.csv")
    words = ("split", people, "--out", out, "--by", "person", *SHARES, "--columns", "label=class")
    ran = videonl(*words)
    assert ran.code == 0, ran.text
    assert "train: 28 videos in 7 groups, 53.8% (wanted 50.0%)" in ran.text
    assert "left out columns tags" in ran.text
    rows = table(out)
    assert list(rows[0]) == ["path", "label", "split", "Person", "light"]
    assert rows[0]["light"] == "night" and rows[1]["light"] == "day, sunny"
    assert all(len(splits) == 1 for splits in splits_by(rows, "Person").values())
    assert [row["path"] for row in rows] == [line.split(";")[0] for line in people.read_text().split("\n")[1:]]
    entries = read_source(f"{out}#val")
    assert {entry.label for entry in entries} == {"run", "walk"}
    before = out.read_bytes()
    assert videonl(*words).code == 0 and out.read_bytes() == before
    again = ("split", out, "--out", people.with_name("b.csv"), "--by", "Person", *SHARES)
    assert f"{out}:2: is in split" in videonl(*again).text
    assert videonl(*again, "--again").code == 0
    assert people.with_name("b.csv").read_bytes() == before


def test_by_parts_of_names_and_with_names_of_splits(videonl: Videonl, people: Path) -> None:
    out = people.parent / "lists" / "split.csv"
    source = ("split", people, "--out", out, "--columns", "label=class")
    ran = videonl(*source, "--by=prefix", "--shares", "0.6,0.4", "--names", "a, b", "--group-pattern", r"_(p\d+)_")
    assert ran.code == 0, ran.text
    rows = table(out)
    assert splits_by(rows, "group") == {f"p{person}": {rows[4 * person]["split"]} for person in range(13)}
    assert {row["split"] for row in rows} == {"a", "b"}
    assert rows[0]["path"] == str(people.parent / "videos" / "run_p0_0.mp4")
    rooted = videonl(*source, "--by=prefix", "--shares", "0.6,0.4", "--root", people.parent)
    assert rooted.code == 0, rooted.text
    assert table(out)[0]["path"] == "videos/run_p0_0.mp4" and table(out)[0]["group"] == "run_p0"
    assert len(read_source(str(out), root=people.parent)) == 52


def test_segments_of_one_film_stay_together(videonl: Videonl, tmp_path: Path) -> None:
    lines = ["path,label,start,end,film"]
    for film in range(7):
        (tmp_path / f"{film}.mp4").touch()
        lines += [f"{film}.mp4,{name},{start},{start + 1.5},f{film}" for name, start in (("run", 0.25), ("walk", 3))]
    (tmp_path / "films.csv").write_text("\n".join(lines))
    out = tmp_path / "split.csv"
    ran = videonl("split", tmp_path / "films.csv", "--out", out, "--by", "film", *SHARES)
    assert ran.code == 0, ran.text
    rows = table(out)
    assert [(row["start"], row["end"]) for row in rows[:2]] == [("0.25", "1.75"), ("3.0", "4.5")]
    assert all(len(splits) == 1 for splits in splits_by(rows, "path").values())
    assert [str(entry.path) for entry in read_source(str(out))][:1] == [f"{tmp_path}/0.mp4#t=0.25,1.75"]
    (tmp_path / "films.csv").write_text("\n".join([*lines[:-1], "6.mp4,walk,3,4.5,f0"]))
    ran = videonl("split", tmp_path / "films.csv", "--out", out, "--by", "film", *SHARES)
    assert ran.code == 2 and f"{tmp_path}/6.mp4 is in group f0, but in f6 at" in ran.text
    assert table(out) == rows


def test_an_official_list_becomes_one_of_ones_own(videonl: Videonl, tmp_path: Path) -> None:
    names = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,verb_class"
    lines = [names]
    for person in range(1, 8):
        video = tmp_path / f"P0{person}" / f"P0{person}_1.MP4"
        video.parent.mkdir()
        video.touch()
        lines += [f"P0{person}_1_{n},P0{person},P0{person}_1,00:00:0{n}.50,00:00:0{n + 2}.00,9,{n % 2}" for n in (0, 3)]
    (tmp_path / "EPIC_100_train.csv").write_text("\n".join(lines))
    out = tmp_path / "split.csv"
    ran = videonl("split", tmp_path / "EPIC_100_train.csv", "--out", out, "--by", "participant_id", *SHARES)
    assert ran.code == 0, ran.text
    assert "left out columns start_timestamp, stop_timestamp, start_frame: " in ran.text
    rows = table(out)
    kept = ["narration_id", "participant_id", "video_id", "verb_class"]
    assert list(rows[0]) == ["path", "label", "split", "start", "end", *kept]
    assert list(rows[1].values())[:2] == ["P01/P01_1.MP4", "1"] and rows[1]["start"] == "3.5"
    assert all(len(splits) == 1 for splits in splits_by(rows, "participant_id").values())
    assert len(read_source(str(out))) == 14


def test_class_folders_and_an_index(videonl: Videonl, tmp_path: Path, clips: Path) -> None:
    for name in ("#run", "stop|go"):
        for place in range(5):
            video = tmp_path / "videos" / name / (f"place{place}" if place else "") / "a.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            video.touch()
    out = tmp_path / "split.csv"
    ran = videonl("split", tmp_path / "videos", "--out", out, "--by", "folder", *SHARES)
    assert ran.code == 0, ran.text
    assert table(out)[5]["label"] == '["stop|go"]' and table(out)[0]["path"] == "videos/#run/a.mp4"
    index = tmp_path / "index.parquet"
    videos = sorted((clips / "train").rglob("*.mp4"))
    write_index(index, [IndexRow(str(video), video.parent.name, status="ok") for video in videos])
    ran = videonl("split", index, "--out", out, "--by", "prefix", "--group-pattern", ".*", *SHARES)
    assert ran.code == 0, ran.text
    assert len(table(out)) == 13 and {row["split"] for row in table(out)} == {"train", "val", "test"}


def test_columns_of_classes_become_labels_and_rare_classes_are_named(videonl: Videonl, tmp_path: Path) -> None:
    lines = ["path,run,wave,jump,place"]
    for number in range(12):
        (tmp_path / f"{number}.mp4").touch()
        lines.append(f"{number}.mp4,1,{number % 2},{int(number < 2)},p{number // 2}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    out = tmp_path / "split.csv"
    ran = videonl("split", tmp_path / "list.csv", "--out", out, "--by", "place", *SHARES)
    assert ran.code == 0, ran.text
    assert "classes that some splits lack, because they have few groups: 1 jump: groups: 1" in ran.text
    rows = table(out)
    assert list(rows[0]) == ["path", "label", "split", "place"]
    assert [row["label"] for row in rows[:3]] == ['["run", "jump"]', '["run", "wave", "jump"]', "run"]
    assert {row["split"] for row in rows} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shares", "0.7,0.2"), "--shares 0.7,0.2: must be two numbers or more, above 0, whose sum is 1"),
        (("--shares", "0.4,0.2,0.2,0.2"), "--shares names 4 splits. Name them: --names a,b,..."),
        (("--names", "a,a,b"), "--names a,a,b: must be 3 different names"),
        (("--by", "perso"), "--by perso: {list}:2 has no such column (filename, class, Person, light, tags)"),
        (("--by", "folder"), "3 splits need as many groups, but there are 1"),
        (("--group-pattern", "x(\\d)"), "{list}:2: --group-pattern x(\\d) finds nothing in 'p0'"),
        (("--group-pattern", "("), "--group-pattern (: is no regular expression"),
        (("--out", "{list}"), "is an input, and would be overwritten"),
        (("--out", "split.txt"), "split.txt: the list must be named *.csv"),
        (("--seed", "-1"), "seed must be at least 0, got -1"),
    ],
)
def test_mistakes_are_named(videonl: Videonl, people: Path, words: tuple[str, ...], message: str) -> None:
    options = {"--by": "person", "--shares": "0.5,0.25,0.25", "--out": str(people.with_name("split.csv"))}
    options[words[0]] = words[1].format(list=people)
    before = people.read_text()
    ran = videonl("split", people, *(f"{name}={value}" for name, value in options.items()), "--columns", "label=class")
    assert ran.code == 2 and message.format(list=people) in ran.text
    assert people.read_text() == before and not people.with_name("split.csv").exists()


def test_a_source_without_labels_or_with_a_gap_is_refused(videonl: Videonl, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.mp4").touch()
    source = tmp_path / "list.csv"
    words = ("split", source, "--out", tmp_path / "split.csv", *SHARES)
    source.write_text("\n".join(f"{number}.mp4" for number in range(5)))
    assert f"{source}:1: has no label" in videonl(*words, "--by", "prefix").text
    source.write_text("path,label,place\n" + "\n".join(f"{n}.mp4,run,{'' if n == 3 else n}" for n in range(5)))
    assert f"{source}:5: has no group (--by place)" in videonl(*words, "--by", "place").text


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\nb.mp4", "has a line break in its name"), (b"\xff.mp4".decode(errors="surrogateescape"), "is no UTF-8")],
)
def test_names_that_no_list_can_hold_are_refused(videonl: Videonl, tmp_path: Path, name: str, message: str) -> None:
    for label in ("run", "walk"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for video in (name, *(f"{number}.mp4" for number in range(5))):
            (tmp_path / "videos" / label / video).touch()
    ran = videonl("split", tmp_path / "videos", "--out", tmp_path / "split.csv", "--by", "prefix", *SHARES)
    assert ran.code == 2 and message in ran.text
    assert not list(tmp_path.glob("split.csv*"))


def test_one_split_is_divided_again(videonl: Videonl, people: Path) -> None:
    first, second = people.with_name("first.csv"), people.with_name("second.csv")
    words = ("--by", "Person", "--columns", "label=class")
    assert videonl("split", people, "--out", first, *words, "--shares", "0.6,0.4").code == 0
    ran = videonl("split", f"{first}#train", "--out", second, "--by", "Person", "--shares=0.5,0.5", "--again")
    assert ran.code == 0, ran.text
    train = {row["Person"] for row in table(first) if row["split"] == "train"}
    assert {row["Person"] for row in table(second)} == train
