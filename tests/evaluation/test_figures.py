"""Figures show their numbers and stay readable."""

import io
import warnings
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from videonl.evaluation import EvaluationRecord, stack
from videonl.evaluation.fewer_views import accuracy_by_views
from videonl.evaluation.figures import confusion_png, reliability_svg, views_svg
from videonl.evaluation.metrics import calibration


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.parametrize("num_classes", [2, 7, 41, 400])
def test_the_diagonal_of_a_confusion_matrix_is_dark(num_classes: int) -> None:
    right = pixels(confusion_png(torch.eye(num_classes, dtype=torch.int64), [f"c{i}" for i in range(num_classes)]))
    assert max(right.shape) <= 1700
    # A dark pixel is blue ink; few classes fill more of the picture with their diagonal.
    dark = (right[..., 2] - right[..., 0] > 40) & (right.sum(axis=2) < 420)
    rows, columns = np.nonzero(dark[:, : right.shape[1] * 8 // 10])  # without the color bar
    assert np.corrcoef(rows, columns)[0, 1] > 0.7


def test_awkward_names_are_drawn_as_they_are() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = confusion_png(torch.eye(2, dtype=torch.int64), ["$x$", "握手"])
    assert pixels(plain).std() > 0


@cache
def with_short_names(num_classes: int) -> bytes:
    return confusion_png(torch.eye(num_classes, dtype=torch.int64), [f"{i:02d}" for i in range(num_classes)])


@pytest.mark.parametrize(
    ("num_classes", "letter"),
    [
        *((2, "W"), (7, "握"), (40, "x\n")),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((7, "W"), (40, "W"), (2, "握"), (40, "握"))),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((2, "x\n"), (7, "x\n"))),
    ],
)
def test_names_of_any_length_leave_the_matrix_its_room(num_classes: int, letter: str) -> None:
    names = [f"{i:02d}{letter * 3000}{i:02d}" for i in range(num_classes)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where labels take all the room
        long = confusion_png(torch.eye(num_classes, dtype=torch.int64), names)
    assert max(pixels(long).shape) <= 2500  # 3,000 characters once made 30,000 pixels, and took gigabytes
    ink = [
        int((np.abs(pixels(content) - [8, 48, 107]).max(axis=2) < 20).sum())
        for content in (with_short_names(num_classes), long)
    ]
    assert abs(ink[0] - ink[1]) < 0.02 * ink[0]


def test_figures_are_svg_with_text_and_equal_each_time(record: EvaluationRecord) -> None:
    calibrated = calibration(*stack(record.scores))
    points = accuracy_by_views(record.scores)
    for draw in (lambda: reliability_svg(calibrated), lambda: views_svg(points)):
        svg = draw()
        assert svg == draw()
        words = "".join(ElementTree.fromstring(svg).itertext())
        assert "confidence" in words or "clips per video" in words
