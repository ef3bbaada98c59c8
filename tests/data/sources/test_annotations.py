"""Annotations of long videos as they are published: Charades, ActivityNet, EPIC-Kitchens, Label Studio."""

import json
from pathlib import Path
from typing import Any

import pytest

from videonl.data.reading.segment import Segment, segment_of, whole_of
from videonl.data.sources.class_names import read_class_names
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source
from videonl.data.sources.labels import classes_of
from videonl.data.sources.several import labels_of
from videonl.errors import UserError

LISTS = Path(__file__).resolve().parents[4] / "shared" / "lists"
shared = [pytest.mark.shared, pytest.mark.skipif(not LISTS.is_dir(), reason=f"{LISTS} is absent")]
CHARADES = "id,subject,scene,actions,length\n"
EPIC = (
    "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun\n"
)


def write(folder: Path, name: str, content: Any, *files: str) -> str:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder / name)


def facts(entries: list[LabeledPath], folder: Path) -> list[tuple[str, str | None, str]]:
    return [(str(entry.path).removeprefix(f"{folder}/"), entry.label, entry.split) for entry in entries]


class TestCharades:
    rows = CHARADES + '"ABC",s,"a, b",c092 11.90 21.20;c001 1.00 2.50;c092 0.00 1.00,30.1\nDEF,s,c,,21.6\n'

    def test_a_video_has_all_its_classes_or_none(self, tmp_path: Path) -> None:
        source = write(tmp_path, "train.csv", self.rows, "Charades_v1/ABC.mp4")
        expected = [("Charades_v1/ABC.mp4", '["c092", "c001"]', ""), ("DEF.mp4", "[]", "")]
        assert facts(read_source(source), tmp_path) == expected

    def test_segments_and_names_of_classes(self, tmp_path: Path) -> None:
        source = write(tmp_path, "train.csv", self.rows, "ABC.mp4")
        names = write(tmp_path, "Charades_v1_classes.txt", "c001 Zapping a door\nc092 Watching, smiling\n")
        entries = read_source(source, columns="segments=actions")
        assert facts(entries, tmp_path) == [
            ("ABC.mp4#t=11.9,21.2", "Watching, smiling", ""),
            ("ABC.mp4#t=1,2.5", "Zapping a door", ""),
            ("ABC.mp4#t=0,1", "Watching, smiling", ""),
        ]
        assert [entry.number for entry in entries] == ["92", "1", "92"]
        whole = read_source(source, classes=Path(names))[0]
        assert (whole.label, whole.number) == ('["Watching, smiling", "Zapping a door"]', '["92", "1"]')
        assert classes_of(read_source(source), several=True) == ["Zapping a door", "Watching, smiling"]
        assert read_class_names(Path(names)) == {"1": "Zapping a door", "92": "Watching, smiling"}

    @pytest.mark.parametrize(
        ("row", "columns", "message"),
        [
            ("ABC,s,c,c092 11.90,30", None, r":2: the action 'c092 11\.90' is not written as"),
            ("ABC,s,c,c092 3.00 2.00,30", "segments=actions", r":2, action 1: the end 2.* is not after the start 3"),
            ("ABC,s,c,c092 x 2.00,30", "segments=actions", r":2, action 1: the start 'x' is no time"),
            ("ABC,s,c,c093 1.00 2.00,30", None, r":2: c093 is not in the file of class names"),
            (",s,c,c092 1.00 2.00,30", None, r":2: has no id"),
            ("ABC,s,c,,30", "segments=actions", r"none of its videos has an action"),
            ("ABC,s,c,,30", "segments=scene", r"no column of segments scene"),
            ("GHI,s,c,,30", None, r"none of its 1 clips was found below"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, row: str, columns: str | None, message: str) -> None:
        write(tmp_path, "Charades_v1_classes.txt", "c001 Closing a door\nc092 Watching\n")
        with pytest.raises(UserError, match=message):
            read_source(write(tmp_path, "train.csv", CHARADES + row, "ABC.mp4"), columns=columns)


def activitynet(**videos: Any) -> dict[str, Any]:
    return {"version": "VERSION 1.3", "taxonomy": [], "database": videos}


DRINKING = {"subset": "training", "annotations": [{"segment": [1, 2.5], "label": "Drinking"}]}
TESTING = {"subset": "testing", "annotations": []}


class TestActivityNet:
    def test_segments_splits_and_the_unlabeled(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        polishing = {
            "subset": "validation",
            "annotations": [{"segment": [0.01, 3], "label": "Polishing"}, {"segment": [4, 5], "label": "Polishing"}],
        }
        content = activitynet(v_a=DRINKING, b=polishing, c=TESTING, d={"subset": "training", "annotations": []})
        source = write(tmp_path, "activity_net.json", content, "train/v_a.mkv", "val/b.mp4", "v_c.webm")
        everything = [
            ("train/v_a.mkv#t=1,2.5", "Drinking", "train"),
            ("val/b.mp4#t=0.01,3", "Polishing", "val"),
            ("val/b.mp4#t=4,5", "Polishing", "val"),
            ("v_c.webm", None, "test"),
        ]
        assert facts(read_source(source), tmp_path) == everything
        assert "left out 1 videos without annotations, such as d" in caplog.text
        for name, split in (("training", "train"), ("validation", "val"), ("testing", "test")):
            chosen = [each for each in everything if each[2] == split]
            for spelling in (name, split):
                assert facts(read_source(f"{source}#{spelling}"), tmp_path) == chosen

    @pytest.mark.parametrize(
        ("video", "message"),
        [
            (
                {"subset": "training", "annotations": [{"segment": [2, 1], "label": "a"}]},
                "v_a, annotation 1: the end 1",
            ),
            ({"subset": "training", "annotations": [{"segment": [-2, 1], "label": "a"}]}, "the start -2 is not a time"),
            (
                {"subset": "training", "annotations": [{"segment": ["x", 1], "label": "a"}]},
                "v_a, annotation 1: must hold",
            ),
            ({"subset": "training", "annotations": [{"segment": [1, 2]}]}, "v_a, annotation 1: must hold .*'label'"),
            ({"subset": "training", "annotations": [{"segment": [1], "label": "a"}]}, "v_a, annotation 1: must hold"),
            ({"subset": "training", "annotations": {}}, "v_a: must hold a subset and a list of annotations"),
            ({"subset": "training", "annotations": []}, "no videos listed"),
            (["training"], "v_a: must hold a subset"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, video: Any, message: str) -> None:
        with pytest.raises(UserError, match=message):
            read_source(write(tmp_path, "a.json", activitynet(v_a=video), "v_a.mp4"))

    def test_no_file_no_split_and_options_that_do_not_apply(self, tmp_path: Path) -> None:
        source = write(tmp_path, "a.json", activitynet(v_a=DRINKING))
        with pytest.raises(UserError, match=r"none of its 1 clips was found below .*v_a\.mp4"):
            read_source(source)
        (tmp_path / "a.mp4").touch()
        with pytest.raises(UserError, match=r"no rows with split 'val'\. The splits are: train"):
            read_source(f"{source}#val")
        with pytest.raises(UserError, match=r"a list of ActivityNet, to which --data\.columns does not apply"):
            read_source(source, columns="label=x")
        with pytest.raises(UserError, match=r"a list of ActivityNet, to which --data\.path-prefix does not apply"):
            read_source(source, path_prefix="/a=/b")


class TestEpicKitchens:
    rows = (
        EPIC + "P01_11_0,P01,P01_11,00:00:00.00,00:00:01.89,1,113,take,0,plate\n"
        "P01_11_1,P01,P01_11,00:01:01.56,01:00:02.45,93,147,put-down,1,cup\n"
        "P02_3_1,P02,P02_3,00:00:01,00:00:02,93,147,put-down,1,cup\n"
    )

    def test_segments_with_the_class_that_is_asked_for(self, tmp_path: Path) -> None:
        source = write(tmp_path, "EPIC_100_train.csv", self.rows, "P01/videos/P01_11.MP4")
        places = [
            "P01/videos/P01_11.MP4#t=0,1.89",
            "P01/videos/P01_11.MP4#t=61.56,3602.45",
            "P02/videos/P02_3.MP4#t=1,2",
        ]
        assert facts(read_source(source), tmp_path) == list(zip(places, "011", 3 * [""], strict=True))
        nouns = read_source(source, columns="label=noun")
        assert [entry.label for entry in nouns] == ["plate", "cup", "cup"]
        write(tmp_path, "EPIC_100_verb_classes.csv", "id,key,instances,category\n0,take,\"['a, b']\",x\n1,put,[],y\n")
        named = read_source(source)
        assert [(entry.label, entry.number) for entry in named] == [("take", "0"), ("put", "1"), ("put", "1")]
        assert [entry.label for entry in read_source(source, columns="label=verb")] == ["take", "put-down", "put-down"]

    def test_test_lists_have_no_label(self, tmp_path: Path) -> None:
        header, *rows = ([*line.split(",")[:7]] for line in self.rows.splitlines())
        source = write(tmp_path, "test.csv", "\n".join(",".join(row) for row in (header, *rows)), "P01_11.mp4")
        assert [entry.label for entry in read_source(source)] == [None, None, None]

    @pytest.mark.parametrize(
        ("row", "columns", "message"),
        [
            ("n,P01,P01_11,00:00:02,00:00:01,1,2,take,0,cup", None, r":2: the end 1 is not after the start 2"),
            ("n,P01,P01_11,0:0:x,00:00:01,1,2,take,0,cup", None, r":2: the start '0:0:x' is no time"),
            ("n,P01,P01_11,,00:00:01,1,2,take,0,cup", None, r":2: has no video_id, no verb_class, or no timestamps"),
            ("n,P01,P01_11,00:00:00,00:00:01,1,2,take,,cup", None, r":2: has no video_id, no verb_class, or"),
            (
                "n,P01,P01_11,00:00:00,00:00:01,1,2,take,7,cup",
                None,
                r":2: label 7 is not a class number in .*verb_classes",
            ),
            ("n,P01,P01_11,00:00:00,00:00:01,1,2,take,0,cup", "label=thing", r":1: --data\.columns names thing, but"),
            ("n,P01,P01_12,00:00:00,00:00:01,1,2,take,0,cup", None, r"none of its 1 clips was found"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, row: str, columns: str | None, message: str) -> None:
        write(tmp_path, "EPIC_100_verb_classes.csv", "id,key\n0,take\n1,put\n")
        with pytest.raises(UserError, match=message):
            read_source(write(tmp_path, "train.csv", EPIC + row, "P01_11.mp4"), columns=columns)


def task(video: str, *annotations: list[Any], **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"video": video}, "annotations": [{"result": each} for each in annotations], **more}


def choices(*labels: str, name: str = "action") -> dict[str, Any]:
    return {"from_name": name, "to_name": "video", "type": "choices", "value": {"choices": list(labels)}}


def timeline(label: str, *ranges: tuple[int, int]) -> dict[str, Any]:
    value = {"ranges": [{"start": start, "end": end} for start, end in ranges], "timelinelabels": [label]}
    return {"from_name": "line", "to_name": "video", "type": "timelinelabels", "value": value}


class TestLabelStudio:
    def test_choices(self, tmp_path: Path) -> None:
        content = [
            task("/data/upload/3/0a1b2c3d-run%201.mp4", [choices("run")]),
            task("/data/local-files/?d=clips/b.mp4", [choices("run", "wave")], [choices("run", "wave")]),
            task("s3://bucket/c.mp4", []),
            task("d.mp4", predictions=[{"result": [choices("run")]}]),
        ]
        content[0]["annotations"].append({"was_cancelled": True, "result": [choices("walk")]})
        source = write(tmp_path, "project-1.json", content, "run 1.mp4", "clips/b.mp4", "deep/er/c.mp4")
        assert facts(read_source(source), tmp_path) == [
            ("run 1.mp4", "run", ""),
            ("clips/b.mp4", '["run", "wave"]', ""),
            ("deep/er/c.mp4", "[]", ""),
            ("d.mp4", None, ""),
        ]

    def test_ranges_count_from_one_and_include_their_end(self, tmp_path: Path) -> None:
        content = [
            task("a.mp4", [timeline("run", (1, 5), (9, 9)), timeline("walk", (6, 8))]),
            task("a.mp4", []),
            task("b.mp4"),
        ]
        entries = read_source(write(tmp_path, "p.json", content, "a.mp4"))
        assert facts(entries, tmp_path) == [
            ("a.mp4#frames=0,5", "run", ""),
            ("a.mp4#frames=8,9", "run", ""),
            ("a.mp4#frames=5,8", "walk", ""),
            ("b.mp4", None, ""),
        ]
        assert segment_of(entries[0].path) == Segment(0, 5, in_frames=True)

    def test_one_of_several_kinds_is_chosen(self, tmp_path: Path) -> None:
        content = [task("a.mp4", [choices("run"), choices("good", name="quality"), timeline("x", (1, 2))])]
        source = write(tmp_path, "p.json", content, "a.mp4")
        with pytest.raises(
            UserError, match=r"several kinds, action, line, quality\. Choose one: --data\.columns label="
        ):
            read_source(source)
        assert facts(read_source(source, columns="label=quality"), tmp_path) == [("a.mp4", "good", "")]
        assert facts(read_source(source, columns="label=line"), tmp_path) == [("a.mp4#frames=0,2", "x", "")]
        with pytest.raises(UserError, match="has no labels named kind, but action, line, quality"):
            read_source(source, columns="label=kind")

    @pytest.mark.parametrize(
        ("broken", "message"),
        [
            (task("a.mp4", [choices("run")], [choices("walk")]), "task 7: its 2 annotations differ"),
            (task("a.mp4", [timeline("run", (5, 3))]), "task 7: the end 3 is not after the start 4"),
            (task("a.mp4", [timeline("run")], [choices()]), "task 7: a result is malformed"),
            (task("a.mp4", [{"value": {"timelinelabels": ["x"]}}]), "task 7: a result is malformed .*'ranges'"),
            (task("a.txt", [choices("run")]), "task 7: its data names no video file"),
            (task("b.mp4", [choices("run")]), r"none of its 1 clips was found below"),
            ({"id": 7, "data": {"video": "a.mp4"}, "annotations": {}}, None),
            (
                {"id": 7, "data": {"video": "a.mp4"}, "annotations": [{}]},
                "task 7: its annotations hold no list 'result'",
            ),
        ],
    )
    def test_mistakes(self, tmp_path: Path, broken: dict[str, Any], message: str | None) -> None:
        source = write(tmp_path, "p.json", [broken], "a.mp4")
        if message is None:  # as none
            assert facts(read_source(source), tmp_path) == [("a.mp4", None, "")]
            return
        with pytest.raises(UserError, match=message):
            read_source(source)


class TestPublished:
    pytestmark = shared

    def linked(self, folder: Path, *names: str) -> str:
        for name in names:
            (folder / name).write_bytes((LISTS / name).read_bytes())
        return str(folder / names[0])

    def test_charades(self, tmp_path: Path) -> None:
        source = self.linked(tmp_path, "charades_test.csv")
        (tmp_path / "YSKX3.mp4").touch()
        entries = read_source(source)
        assert [len(labels_of(str(entry.label))) for entry in entries] == [5, 5, 3, 3, 0]
        segments = read_source(source, columns="segments=actions")
        assert len(segments) == 17 and len({entry.label for entry in segments}) == 16

    def test_activitynet(self, tmp_path: Path) -> None:
        source = self.linked(tmp_path, "activitynet_example.json")
        (tmp_path / "v_aaaaaaaaaaa.mp4").touch()
        entries = read_source(source)
        assert [(entry.split, entry.label) for entry in entries] == [
            ("train", "Drinking coffee"),
            ("val", "Polishing shoes"),
            ("val", "Polishing shoes"),
            ("test", None),
        ]

    def test_epic_kitchens(self, tmp_path: Path) -> None:
        names = ("epic_kitchens100_validation.csv", "epic_kitchens100_verb_classes.csv")
        source = self.linked(tmp_path, *names)
        (tmp_path / "P01_11.MP4").touch()
        entries = read_source(source)
        assert (len(entries), len({str(whole_of(entry.path)) for entry in entries})) == (79, 1)
        verbs = read_class_names(tmp_path / names[1])
        assert len(verbs) == 96 and all(verbs[entry.number] == entry.label for entry in entries)

    def test_kinetics_and_pyslowfast(self, tmp_path: Path) -> None:
        for name, num_rows, num_classes in (("kinetics400_val.csv", 119, 3), ("kinetics600_val.csv", 59, 2)):
            source = self.linked(tmp_path, name)
            first = Path(source).read_text().split("\n")[1].split(",")
            (tmp_path / f"{first[1]}.mp4").touch()
            entries = read_source(f"{source}#validation")
            assert (len(entries), len({entry.label for entry in entries})) == (num_rows, num_classes)
            assert {segment_of(entry.path) for entry in entries} == {None}
        source = self.linked(tmp_path, "slowfast_kinetics400_val.csv")
        (tmp_path / "0wR5jVB-WPk_000417_000427.mp4").touch()
        entries = read_source(source, path_prefix=f"/data/kinetics400/val={tmp_path}")
        assert len(entries) == 30 and {whole_of(entry.path).parent for entry in entries} == {tmp_path}
