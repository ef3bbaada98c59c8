"""An evaluation goes on where it was interrupted."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord
from videonl.evaluation.unfinished import UnfinishedEvaluation

ASKED = {"average": "softmax", "about": {"views": "3 clips"}, "videos": "abc"}


def write(path: Path, record: EvaluationRecord, start: int, end: int) -> None:
    with UnfinishedEvaluation(path, record.class_names, ASKED) as unfinished:
        for score in record.scores[start:end]:
            unfinished.add(score)


def assert_holds(path: Path, record: EvaluationRecord, number: int) -> None:
    scores = UnfinishedEvaluation(path, record.class_names, ASKED).scores
    assert [score.video for score in scores] == list(range(number))
    for score, expected in zip(scores, record.scores, strict=False):
        assert torch.equal(score.logits, expected.logits)
        assert (score.path, score.label, score.views) == (expected.path, expected.label, expected.views)


def test_what_was_scored_is_there_again(record: EvaluationRecord, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.part"
    write(path, record, 0, 5)
    assert_holds(path, record, 5)
    write(path, record, 5, 12)
    assert_holds(path, record, 12)
    assert [file.name for file in path.parent.iterdir()] == ["a.part"]


def test_every_video_is_on_disk_as_soon_as_it_is_added(record: EvaluationRecord, tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    with UnfinishedEvaluation(path, record.class_names, ASKED) as unfinished:
        for number, score in enumerate(record.scores[:3], start=1):
            unfinished.add(score)
            assert_holds(path, record, number)


def test_a_file_cut_anywhere_loses_at_most_its_last_videos(record: EvaluationRecord, tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    write(path, record, 0, 3)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        number = len(UnfinishedEvaluation(path, record.class_names, ASKED).scores)
        assert_holds(path, record, number)
    path.write_bytes(whole[: len(whole) * 9 // 10])
    assert_holds(path, record, 2)
    write(path, record, 2, 5)
    assert_holds(path, record, 5)


@pytest.mark.parametrize("other", [{"average": "logits"}, {"about": {"views": "5 clips"}}, {"videos": "xyz"}])
def test_another_evaluation_is_not_continued(
    record: EvaluationRecord, tmp_path: Path, other: dict[str, object]
) -> None:
    path = tmp_path / "a.part"
    write(path, record, 0, 3)
    with pytest.raises(UserError, match=r"a\.part is an unfinished evaluation of another checkpoint"):
        UnfinishedEvaluation(path, record.class_names, ASKED | other)
    assert_holds(path, record, 3)


def test_a_full_disk_is_named_and_keeps_what_was_scored(
    record: EvaluationRecord, tmp_path: Path, files_at_most: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "a.part"
    write(path, record, 0, 5)
    size_bytes = path.stat().st_size
    with files_at_most(2 * size_bytes), pytest.raises(UserError, match=r"a\.part cannot be written \(.*\); what"):
        write(path, record, 5, 31)
    scores = UnfinishedEvaluation(path, record.class_names, ASKED).scores
    assert [score.video for score in scores] == list(range(len(scores))) and 5 <= len(scores) < 31
