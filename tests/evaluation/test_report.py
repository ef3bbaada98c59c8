"""Scores survive the way through the file, to the last digit."""

import csv
import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from videonl.evaluation import VideoScore, print_accuracies, write_scores

CLASS_NAMES = ["wave", 'clap, "once"', "jump\nhigh"]
AWKWARD = torch.tensor([[1 / 3, 0.1 + 0.2, 1e-300], [5e-324, 1 - 2**-53, 2 / 3]], dtype=torch.float64)


def scores() -> list[VideoScore]:
    return [VideoScore(3, "a, b/ü.mp4", 0, AWKWARD[0]), VideoScore(5, "c.mp4", -1, AWKWARD[1])]


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_file_says_path_label_prediction_and_every_probability(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "test.csv"
    write_scores(path, scores(), CLASS_NAMES)
    header, *rows = read(path)
    assert header == ["path", "label", "prediction", *CLASS_NAMES]
    assert [row[:3] for row in rows] == [["a, b/ü.mp4", "wave", "wave"], ["c.mp4", "", 'clap, "once"']]


def test_probabilities_come_back_exactly(tmp_path: Path) -> None:
    write_scores(tmp_path / "test.csv", scores(), CLASS_NAMES)
    numbers = [[float(value) for value in row[3:]] for row in read(tmp_path / "test.csv")[1:]]
    assert numbers == AWKWARD.tolist()


def test_only_a_complete_file_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    write_scores(path, scores()[:1], CLASS_NAMES)
    before = path.read_bytes()
    with pytest.raises(IndexError):
        write_scores(path, [*scores(), VideoScore(7, "d.mp4", 11, AWKWARD[0])], CLASS_NAMES)
    assert path.read_bytes() == before
    write_scores(path, scores(), CLASS_NAMES)
    assert len(read(path)) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["test.csv"]


def test_no_videos_leave_a_header(tmp_path: Path) -> None:
    write_scores(tmp_path / "test.csv", [], CLASS_NAMES)
    assert read(tmp_path / "test.csv") == [["path", "label", "prediction", *CLASS_NAMES]]


def test_table_is_in_percent() -> None:
    stream = io.StringIO()
    metrics = {"top1": 0.71464, "top5": 1.0, "mean_class": 0.0, "other": 0.5}
    print_accuracies(Console(file=stream, width=97), metrics, 13)
    text = stream.getvalue()
    for words in ("13 videos", "top-1", "top-5", "mean class", "other", "71.46 %", "100.00 %", "0.00 %", "50.00 %"):
        assert words in text
