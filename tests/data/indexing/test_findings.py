from videonl.data.indexing.findings import (
    contradictions,
    copies,
    labels_without_training,
    leaks,
    shared_clips,
    similar_labels,
    uneven_classes,
)
from videonl.data.indexing.index_file import IndexRow

RECORDS = [
    IndexRow("a.mp4", "tap dancing", "train", "id1", content_hash="aa"),
    IndexRow("b.mp4", "tap dancing", "train", "id2", content_hash="bb"),
    IndexRow("c.mp4", "tap dancing", "train", "id2", content_hash="bb"),
    IndexRow("d.mp4", "Tap_Dancing", "val", "id1", content_hash="cc"),
    IndexRow("e.mp4", "run", "val", "id3", content_hash="aa"),
    IndexRow("f.mp4", "run", "train", status="broken"),
    IndexRow("g.mp4", "walk", "val", status="missing"),
]


def paths(groups: list) -> list[list[str]]:
    return [[record.path for record in group.records] for group in groups]


def test_copies_leaks_and_contradictions() -> None:
    assert paths(copies(RECORDS)) == [["a.mp4", "e.mp4"], ["b.mp4", "c.mp4"]]
    assert paths(leaks(RECORDS)) == paths(contradictions(RECORDS)) == [["a.mp4", "e.mp4"]]
    assert paths(shared_clips(RECORDS)) == [["a.mp4", "d.mp4"]]
    assert str(leaks(RECORDS)[0]) == "a.mp4 (train, tap dancing) = e.mp4 (val, run)"


def test_labels() -> None:
    assert similar_labels(RECORDS) == [["Tap_Dancing", "tap dancing"]]
    assert labels_without_training(RECORDS) == ["Tap_Dancing", "run", "walk"]
    assert labels_without_training([record for record in RECORDS if record.split == "val"]) == []


def test_uneven_classes_are_named_with_what_to_try() -> None:
    even = [IndexRow(f"{label}{number}.mp4", label, "train") for label in ("run", "walk") for number in range(11)]
    assert uneven_classes(even) == []
    rare = IndexRow("fall.mp4", "fall", "train")
    told, few = uneven_classes([*even, rare, IndexRow("x.mp4", "fall", "val"), IndexRow("y.mp4", "", "train")])
    assert "has 11 times as many training videos as fall (11 and 1)" in told
    assert "--data.balance sqrt" in told and "--model.loss.logit_adjustment 1" in told
    assert few == "1 classes have fewer than 10 training videos: fall"
    told, few = uneven_classes([*even, IndexRow("a.mp4", '["fall", "run"]', "train")])
    assert told.startswith("run has 12 times") and "--model.positive_weights" in told and "logit" not in told
