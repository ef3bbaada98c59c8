"""What people read in the terminal, and the files beside the record."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, accuracies, compare, read_record, stack
from videonl.evaluation.metrics import TITLES
from videonl.evaluation.report import print_comparison, print_evaluation, write_evaluation


def test_table_is_in_percent_with_intervals_and_a_caution(record: EvaluationRecord) -> None:
    stream = io.StringIO()
    print_evaluation(Console(file=stream, width=197), record.scores)
    text = stream.getvalue()
    for name, value in accuracies(*stack(record.scores)).items():
        (line,) = (line for line in text.splitlines() if TITLES[name] in line and "│" in line)
        assert f"{100 * value:.2f} %" in line
        assert " to " in line
    for words in ("31 videos", "calibration error", "Only 31 videos"):
        assert words in text


def test_comparison_names_the_classes_that_changed(record: EvaluationRecord) -> None:
    stream = io.StringIO()
    right = [
        replace(score, logits=score.logits.index_fill(1, score.logits.new_tensor([0]).long(), 50.0))
        for score in record.scores
    ]  # now every video is taken for class 0
    comparison = compare(record, replace(record, scores=right))
    print_comparison(Console(file=stream, width=197), comparison)
    text = stream.getvalue()
    lost = {change.name for change in comparison.classes if change.b < change.a}
    assert len(lost) > 3
    assert all(f"{name} (" in text for name in lost)
    assert f"0 videos fixed, {len(comparison.broken)} broken" in text or len(comparison.fixed)
    assert comparison.verdict in text


def test_record_page_and_picture_lie_side_by_side(record: EvaluationRecord, tmp_path: Path) -> None:
    written = write_evaluation(tmp_path / "new", "test", record)
    assert [path.name for path in written] == ["test.parquet", "test.html", "test_confusion.png"]
    assert len(read_record(written.record).scores) == 31
    with Image.open(written.confusion) as picture:
        assert picture.format == "PNG"
    assert written.page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_without_known_classes_there_is_only_the_record(record: EvaluationRecord, tmp_path: Path) -> None:
    unknown = replace(record, scores=[replace(score, label=-1) for score in record.scores])
    written = write_evaluation(tmp_path, "test", unknown)
    assert [path.name for path in tmp_path.iterdir()] == [written.record.name]


def test_scores_that_are_not_finite_have_no_accuracy_but_are_kept(record: EvaluationRecord, tmp_path: Path) -> None:
    broken = replace(record.scores[4], logits=record.scores[4].logits * torch.nan)
    write_evaluation(tmp_path, "test", record)  # an older one, whose page would pass for that of the new record
    record = replace(record, scores=[*record.scores[:4], broken, *record.scores[5:]])
    with pytest.raises(UserError, match=r"scores of 1 of 31 videos, such as 4\.mp4, are not finite"):
        write_evaluation(tmp_path, "test", record)
    assert [path.name for path in tmp_path.iterdir()] == ["test.parquet"]
    assert len(read_record(tmp_path / "test.parquet").scores) == 31
    with pytest.raises(UserError, match="not finite"):
        print_evaluation(Console(), record.scores)
    with pytest.raises(UserError, match="not finite"):
        compare(record, record)
