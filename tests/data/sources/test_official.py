"""Official lists as they are published: every row, its class and its file, and what is refused by name."""

import json
from pathlib import Path

import pytest

from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import file_of_source, read_source, read_sources
from videonl.data.sources.labels import classes_of
from videonl.errors import UserError

LISTS = Path(__file__).resolve().parents[4] / "shared" / "lists"
shared = [pytest.mark.shared, pytest.mark.skipif(not LISTS.is_dir(), reason=f"{LISTS} is absent")]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def copied(folder: Path, source: Path, name: str) -> Path:
    (folder / name).write_bytes(source.read_bytes())
    return folder / name


def facts(entries: list[LabeledPath], folder: Path) -> list[tuple[str, str | None, str]]:
    return [(Path(str(entry.path)).relative_to(folder).as_posix(), entry.label, entry.split) for entry in entries]


def test_the_class_of_ucf101_is_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "YoYo/v_YoYo_g01_c01.avi", "HandstandPushups/v_HandStandPushups_g08_c01.avi")
    (tmp_path / "trainlist01.txt").write_text(
        "HandstandPushups/v_HandStandPushups_g08_c01.avi 37\r\nYoYo/v_YoYo_g01_c01.avi 101\r\n"
    )
    (tmp_path / "testlist01.txt").write_text("YoYo/v_YoYo_g01_c01.avi\n")
    of_both = [
        ("HandstandPushups/v_HandStandPushups_g08_c01.avi", "HandstandPushups", ""),
        ("YoYo/v_YoYo_g01_c01.avi", "YoYo", ""),
    ]
    train, test = (read_source(str(tmp_path / f"{name}list01.txt")) for name in ("train", "test"))
    assert facts(train, tmp_path) == of_both
    assert facts(test, tmp_path) == of_both[1:]
    assert classes_of(train) == ["HandstandPushups", "YoYo"]
    (tmp_path / "classInd.txt").write_text("2 HandStandPushups\r\n1 YoYo\r\n")
    assert classes_of(read_source(str(tmp_path / "trainlist01.txt"))) == ["YoYo", "HandstandPushups"]
    (tmp_path / "classInd.txt").write_text("1 YoYo\n")
    with pytest.raises(UserError, match=r"trainlist01\.txt:1: the class HandstandPushups is not in classInd"):
        read_source(str(tmp_path / "trainlist01.txt"))
    assert [entry.split for entry in read_sources(f"{tmp_path}/testlist01.txt,{tmp_path}/testlist01.txt")] == [
        "test",
        "test",
    ]


def test_hmdb51_is_a_pattern_of_files_and_a_split(tmp_path: Path) -> None:
    (tmp_path / "wave_test_split1.txt").write_text("a b.avi 1 \nc.avi 2 \nd.avi 0 \n")
    (tmp_path / "brush_hair_test_split1.txt").write_text("e.avi 1\n")
    (tmp_path / "wave_test_split2.txt").write_text("a b.avi 2\n")
    source = f"{tmp_path}/*_test_split1.txt"
    everything = [
        ("brush_hair/e.avi", "brush_hair", "train"),
        ("wave/a b.avi", "wave", "train"),
        ("wave/c.avi", "wave", "test"),
    ]
    assert facts(read_source(source), tmp_path) == everything
    assert facts(read_source(f"{source}#train"), tmp_path) == everything[:2]
    assert facts(read_source("*_test_split1.txt#test", root=tmp_path), tmp_path) == everything[2:]
    assert file_of_source(f"{source}#train") == Path(source)
    for bad, message in (
        (f"{source}#val", "no videos of split 'val'"),
        (f"{tmp_path}/*_test_split?.txt", r"files of the splits 1, 2 are named.*\*_test_split1\.txt"),
        (f"{tmp_path}/*.csv", "no such folder or list file"),
    ):
        with pytest.raises(UserError, match=message):
            read_source(bad)
    (tmp_path / "wave_test_split1.txt").write_text("a.avi 3\n")
    with pytest.raises(UserError, match=r"wave_test_split1\.txt:1: must be a file's name and 0, 1 or 2"):
        read_source(source)


def something(folder: Path, rows: object) -> str:
    (folder / "train.json").write_text(json.dumps(rows, indent=1))
    return str(folder / "train.json")


def test_the_class_of_something_something_is_the_template_without_brackets(tmp_path: Path) -> None:
    touch(tmp_path, "7.webm")
    rows = [
        {"id": "7", "label": "moving cup", "template": "Moving [something] up", "placeholders": ["cup"]},
        {"id": "5", "label": "x", "template": "Hitting [something] with [something]", "placeholders": []},
    ]
    source = something(tmp_path, rows)
    expected = [("7.webm", "Moving something up", ""), ("5.webm", "Hitting something with something", "")]
    assert facts(read_source(source), tmp_path) == expected
    assert classes_of(read_source(source)) == sorted(label for _, label, _ in expected)
    labels = tmp_path / "something-something-v2-labels.json"
    labels.write_text(json.dumps({"Moving something up": "0", "Hitting something with something": "1"}))
    assert classes_of(read_source(source)) == [label for _, label, _ in expected]
    labels.write_text(json.dumps({"Moving something up": "0"}))
    with pytest.raises(UserError, match="item 2: the class 'Hitting something with something' is not in the file"):
        read_source(source)
    labels.write_text("[]")
    with pytest.raises(UserError, match="no file of labels and their numbers"):
        read_source(source)
    labels.unlink()
    unlabeled = read_source(something(tmp_path, [{"id": "7"}]))
    assert facts(unlabeled, tmp_path) == [("7.webm", None, "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"database": {}}', "no videos listed"),
        ("[]", "no videos listed"),
        ('{"videos": {}}', "JSON of another form"),
        ('[{"id": 7, "video": "a.mp4", "choice": "run"}]', "JSON of another form"),
        ("[{}]", "JSON of another form"),
        ('[{"id": "7", "template": "x"}', "no whole JSON"),
        ('[{"id": "nowhere", "template": "x"}]', "none of the first files listed exists"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_source(str(tmp_path / "list.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x.mp4,laufen\n".encode("utf-16"), "is UTF-16.*iconv -f UTF-16 -t UTF-8 list.csv"),
        ("x.mp4,run\ny.mp4,fußball\n".encode("latin1"), "no UTF-8 from line 2 on.*iconv -f LATIN1 -t UTF-8 list.csv"),
    ],
)
def test_other_encodings_are_named_with_the_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_source(str(tmp_path / "list.csv"))


class TestPublished:
    pytestmark = shared

    def test_ucf101(self, tmp_path: Path) -> None:
        copied(tmp_path, LISTS / "ucf101_classInd.txt", "classInd.txt")
        for name in ("trainlist01", "testlist01"):
            source = copied(tmp_path, LISTS / f"ucf101_{name}.txt", f"{name}.txt")
            lines = source.read_text().split("\n")
            touch(tmp_path, lines[0].split()[0])
            entries = read_source(str(source))
            assert len(entries) == sum(bool(line.strip()) for line in lines)
            assert all(entry.label == Path(str(entry.path)).parent.name for entry in entries)
            assert classes_of(entries) == sorted({str(entry.label) for entry in entries}, key=str.lower)

    def test_hmdb51(self) -> None:
        files = sorted((LISTS / "hmdb51").glob("*_test_split1.txt"))
        rows = [line.split() for file in files for line in file.read_text().splitlines() if line.strip()]
        entries = read_source(f"{LISTS}/hmdb51/*_test_split1.txt")
        assert [entry.split for entry in entries] == [
            {"1": "train", "2": "test"}[row[-1]] for row in rows if row[-1] != "0"
        ]

    def test_something_something(self, tmp_path: Path) -> None:
        source = copied(tmp_path, LISTS / "something_something_v2_validation.json", "validation.json")
        copied(tmp_path, LISTS / "something_something_v2_labels_excerpt.json", "labels.json")
        rows = json.loads(source.read_text())
        touch(tmp_path, f"{rows[0]['id']}.webm")
        entries = read_source(str(source))
        assert len(entries) == len(rows)
        numbers = json.loads((tmp_path / "labels.json").read_text())
        assert all(entry.number == numbers[str(entry.label)] for entry in entries)
