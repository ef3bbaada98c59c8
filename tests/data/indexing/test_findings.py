from videonl.data.indexing.findings import (
    contradictions,
    copies,
    labels_without_training,
    leaks,
    shared_clips,
    similar_labels,
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
