"""What is written is read back, by videonl and by others."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, VideoScore, VideoScores, read_record, write_record
from videonl.evaluation import record as record_module
from videonl.evaluation.report import write_page
from videonl.evaluation.unfinished import UnfinishedEvaluation

MakeScore = Callable[..., VideoScore]


def assert_same(one: EvaluationRecord, other: EvaluationRecord) -> None:
    assert (one.class_names, one.about, one.unreadable) == (other.class_names, other.about, other.unreadable)
    for a, b in zip(one.scores, other.scores, strict=True):
        assert (a.video, a.path, a.label, a.views, a.average) == (b.video, b.path, b.label, b.views, b.average)
        assert a.logits.dtype == torch.float32
        assert torch.equal(a.logits, b.logits)


@pytest.mark.parametrize("rows", [5, 1024])
def test_a_record_is_read_back_bit_by_bit(
    record: EvaluationRecord, tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module, "_ROWS", rows)
    write_record(tmp_path / "new" / "a.parquet", record)
    assert_same(read_record(tmp_path / "new" / "a.parquet"), record)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.parquet"]


def test_awkward_names_unknown_labels_and_unequal_views_survive(make_score: MakeScore, tmp_path: Path) -> None:
    scores = [
        make_score(3, -1, [[1e-30, 5.0, 1 / 3]], path="a, b/ü\n.mp4"),
        make_score(5, 2, [[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]], path="c.mp4"),
    ]
    record = EvaluationRecord(['a "b"', "<c>", "握手"], scores)
    write_record(tmp_path / "a.parquet", record)
    assert_same(read_record(tmp_path / "a.parquet"), record)
    assert [score.video for score in record.labeled] == [5]


def test_others_read_the_documented_columns(make_score: MakeScore, tmp_path: Path) -> None:
    scores = [
        make_score(7, 1, [[0.0, 2.0], [1.0, 0.0], [4.0, 8.0], [0.5, 0.25]], num_crops=2),
        make_score(8, -1, [[2, 1]]),
    ]
    write_record(tmp_path / "a.parquet", EvaluationRecord(["wave", "clap"], scores))
    first, second = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert first["views"] == [
        {"clip": 0, "crop": 0, "logits": [0.0, 2.0]},
        {"clip": 0, "crop": 1, "logits": [1.0, 0.0]},
        {"clip": 1, "crop": 0, "logits": [4.0, 8.0]},
        {"clip": 1, "crop": 1, "logits": [0.5, 0.25]},
    ]
    assert (first["video"], first["path"], first["label"], first["prediction"]) == (7, "7.mp4", "clap", "clap")
    expected = torch.tensor([view["logits"] for view in first["views"]]).double().softmax(1).mean(0)
    assert first["probabilities"] == pytest.approx(expected.tolist(), abs=1e-15)
    assert (second["label"], second["prediction"]) == (None, "wave")


def test_the_columns_of_a_segment_are_those_of_its_path(make_score: MakeScore, tmp_path: Path) -> None:
    paths = ["a.mp4", "a.mp4#t=1.5,2.25", "a.mp4#t=3", "a.mp4#frames=7,31"]
    scores = [make_score(number, 0, [[2.0, 1.0]], path=path) for number, path in enumerate(paths)]
    write_record(tmp_path / "a.parquet", EvaluationRecord(["wave", "clap"], scores))
    rows = pq.read_table(tmp_path / "a.parquet").select(["path", "start", "end", "start_frame", "end_frame"])
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("a.mp4", None, None, None, None),
        ("a.mp4#t=1.5,2.25", 1.5, 2.25, None, None),
        ("a.mp4#t=3", 3.0, None, None, None),
        ("a.mp4#frames=7,31", None, None, 7, 31),
    ]
    assert [score.path for score in read_record(tmp_path / "a.parquet").scores] == paths


def test_equal_records_make_equal_files(record: EvaluationRecord, tmp_path: Path) -> None:
    write_record(tmp_path / "a.parquet", record)
    write_record(tmp_path / "b.parquet", read_record(tmp_path / "a.parquet"))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_another_average_of_the_same_views(record: EvaluationRecord, tmp_path: Path) -> None:
    by_logits = record.averaged_by("logits")
    expected = record.scores[0].logits.double().mean(dim=0).softmax(dim=0)
    torch.testing.assert_close(by_logits.scores[0].probabilities, expected, rtol=0, atol=1e-12)
    write_record(tmp_path / "a.parquet", by_logits)
    assert read_record(tmp_path / "a.parquet").average == "logits"


def test_no_videos_leave_an_empty_table(tmp_path: Path) -> None:
    empty = EvaluationRecord(["wave", "clap"], [], {}, {"a.mp4": "gone"})
    write_record(tmp_path / "a.parquet", empty)
    assert_same(read_record(tmp_path / "a.parquet"), empty)


def test_an_older_record_stays_until_the_new_one_is_complete(record: EvaluationRecord, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"older")
    beyond = replace(record.scores[0], label=11)
    with pytest.raises(IndexError):
        write_record(path, replace(record, scores=[*record.scores, beyond]))
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet.*videonl evaluate"):
        read_record(path)


def test_a_folder_is_refused_with_the_records_in_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder; it holds no \.parquet file"):
        read_record(tmp_path)
    (tmp_path / "test.parquet").touch()
    with pytest.raises(UserError, match=r"is a folder; name a record in it: .*test\.parquet$"):
        read_record(tmp_path)


def test_a_parquet_file_of_something_else_is_refused(record: EvaluationRecord, tmp_path: Path) -> None:
    write_record(tmp_path / "a.parquet", record)
    table = pq.read_table(tmp_path / "a.parquet").replace_schema_metadata({})
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(UserError, match="not a record"):
        read_record(tmp_path / "b.parquet")


def test_a_file_whose_name_is_no_text_has_a_score(tmp_path: Path) -> None:
    name = os.fsdecode(b"/videos/a\xff.mp4")
    scores = VideoScores()
    one = torch.tensor([0])
    scores.update(torch.tensor([[1.0, 2.0]]), torch.tensor([[0, 0]]), one, one, [name])
    record = EvaluationRecord(["a", "b"], scores.gather(), {"videos": name}, {name: "the file is empty"})
    write_record(tmp_path / "a.parquet", record)
    assert [score.path for score in read_record(tmp_path / "a.parquet").scores] == [r"/videos/a\xff.mp4"]
    assert write_page(tmp_path / "a.html", record).exists()
    assert r"/videos/a\xff.mp4" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_scores_that_are_not_finite_predict_nothing(make_score: MakeScore, tmp_path: Path) -> None:
    scores = [make_score(0, 0, [[torch.nan, 1.0]]), make_score(1, 0, [[2.0, 1.0]])]
    write_record(tmp_path / "a.parquet", EvaluationRecord(["a", "b"], scores))
    assert pq.read_table(tmp_path / "a.parquet")["prediction"].to_pylist() == [None, "a"]


def test_places_that_cannot_be_written_are_named(record: EvaluationRecord, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UserError, match=r"file/a\.parquet cannot be written"):
        write_record(tmp_path / "file" / "a.parquet", record)
    with pytest.raises(UserError, match=r"folder\.html cannot be written \(Is a directory\)"):
        write_page(tmp_path / "folder.html", record)
    with (
        pytest.raises(UserError, match=r"file/a\.part cannot be written"),
        UnfinishedEvaluation(tmp_path / "file" / "a.part", ["a"], {"average": "softmax"}),
    ):
        pass


def test_a_full_disk_keeps_the_record_before_and_room(
    record: EvaluationRecord, tmp_path: Path, files_at_most: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "a.parquet"
    write_record(path, replace(record, scores=record.scores[:5]))
    with files_at_most(path.stat().st_size), pytest.raises(UserError, match=r"a\.parquet cannot be written \(.*\)"):
        write_record(path, record)
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    assert len(read_record(path).scores) == 5


@pytest.mark.parametrize(
    "about", [{"about": "text"}, {"about": {"clip": 3}}, {"unreadable": []}, {"class_names": "ab"}]
)
def test_metadata_of_another_kind_is_refused(
    record: EvaluationRecord, tmp_path: Path, about: dict[str, object]
) -> None:
    path = tmp_path / "r.parquet"
    write_record(path, record)
    table = pq.read_table(path)
    metadata = json.dumps({**json.loads(table.schema.metadata[b"videonl"]), **about}).encode()
    pq.write_table(table.replace_schema_metadata({b"videonl": metadata}), path)
    with pytest.raises(UserError, match=r"r\.parquet is not a record of videonl test or videonl evaluate"):
        read_record(path)
