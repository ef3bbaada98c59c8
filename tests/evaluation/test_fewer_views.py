"""Accuracy with fewer views, planted view by view."""

from collections.abc import Callable

import pytest

from videonl.evaluation import EvaluationRecord, VideoScore, accuracies, stack
from videonl.evaluation.fewer_views import accuracy_by_views, evenly_chosen

RIGHT, WRONG, SURELY_WRONG = [0.0, 4.0], [4.0, 0.0], [90.0, 0.0]
MakeScore = Callable[..., VideoScore]


@pytest.mark.parametrize(
    ("number", "choices", "chosen"),
    [
        (1, 1, [0]),
        (1, 10, [4]),
        (2, 10, [0, 9]),
        (4, 10, [0, 3, 6, 9]),
        (3, 3, [0, 1, 2]),
        (1, 3, [1]),
        (7, 7, range(7)),
    ],
)
def test_choices_are_even(number: int, choices: int, chosen: list[int]) -> None:
    assert evenly_chosen(number, choices) == list(chosen)


def test_each_number_of_views_has_the_accuracy_of_its_views(make_score: MakeScore) -> None:
    # clip by clip, three crops each; of three clips one takes the middle, two the first and last
    one = make_score(0, 1, [WRONG, RIGHT, WRONG, RIGHT, WRONG, RIGHT, WRONG, RIGHT, WRONG], num_crops=3)
    other = make_score(1, 1, 3 * [WRONG] + 3 * [RIGHT] + 3 * [SURELY_WRONG], num_crops=3)
    found = {(point.num_clips, point.num_crops): point.value for point in accuracy_by_views([one, other])}
    assert found == {
        (1, 1): 0.5,  # one: clip 1 crop 1 is wrong; other: right
        (2, 1): 0.5,  # one: clips 0 and 2 are right; other: wrong
        (3, 1): 0.5,
        (1, 3): 1.0,
        (2, 3): 0.0,
        (3, 3): 0.0,
    }


def test_all_views_have_the_accuracy_of_the_evaluation(record: EvaluationRecord) -> None:
    points = accuracy_by_views(record.scores)
    assert [(point.num_clips, point.num_crops) for point in points] == [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)]
    assert points[-1].value == pytest.approx(accuracies(*stack(record.scores))["top1"])
    assert points[-1].interval.low < points[-1].value < points[-1].interval.high


def test_views_that_differ_are_refused(make_score: MakeScore) -> None:
    with pytest.raises(ValueError, match="different views"):
        accuracy_by_views([make_score(0, 1, [RIGHT]), make_score(1, 1, [RIGHT, WRONG])])
