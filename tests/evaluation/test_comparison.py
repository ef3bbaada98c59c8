"""Paired comparison against plain counting."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, VideoScore, compare
from videonl.evaluation.comparison import mcnemar
from videonl.evaluation.intervals import NUM_RESAMPLES
from videonl.evaluation.page import comparison_page

NAMES = ["wave", "clap", "jump"]
MakeScore = Callable[..., VideoScore]


def saying(make_score: MakeScore, answers: list[tuple[int, int, float]]) -> EvaluationRecord:
    """One video per (label, answer, logit of the answer)."""
    scores = []
    for video, (label, answer, logit) in enumerate(answers):
        logits = [0.0, 0.0, 0.0]
        logits[answer] = logit
        scores.append(make_score(video, label, [logits]))
    return EvaluationRecord(NAMES, scores)


def pair(make_score: MakeScore) -> tuple[EvaluationRecord, EvaluationRecord]:
    a = [(0, 0, 3), (0, 0, 3), (0, 1, 3), (1, 1, 3), (1, 0, 3), (1, 2, 3), (1, 2, 3)]
    b = [(0, 0, 3), (0, 2, 5), (0, 1, 3), (1, 1, 3), (1, 1, 2), (1, 1, 7), (1, 0, 3)]
    return saying(make_score, a), saying(make_score, b)


def test_changes_are_counted_video_by_video(make_score: MakeScore) -> None:
    found = compare(*pair(make_score))
    assert [change.b.video for change in found.fixed] == [5, 4]  # the surest of B first
    assert [change.b.video for change in found.broken] == [1]
    assert [(c.name, c.num_videos, c.num_fixed, c.num_broken) for c in found.classes] == [
        ("clap", 4, 2, 0),
        ("wave", 3, 0, 1),
    ]
    assert [(c.a, c.b) for c in found.classes] == [(1 / 4, 3 / 4), (pytest.approx(2 / 3), pytest.approx(1 / 3))]
    top1, mean_class = found.metrics["top1"], found.metrics["mean_class"]
    assert (top1.a, top1.b, top1.difference) == pytest.approx((3 / 7, 4 / 7, 1 / 7))
    assert mean_class.difference == pytest.approx((1 / 2 - 1 / 3) / 2)


def test_interval_resamples_pairs(make_score: MakeScore) -> None:
    a, b = pair(make_score)
    hits = [np.array([s.prediction == s.label for s in record.scores], dtype=float) for record in (a, b)]
    draws = np.random.default_rng(0).integers(7, size=(NUM_RESAMPLES, 7))
    differences = [hits[1][drawn].mean() - hits[0][drawn].mean() for drawn in draws]
    interval = compare(a, b).metrics["top1"].interval
    assert interval == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=1e-12)


def test_an_evaluation_does_not_differ_from_itself(record: EvaluationRecord) -> None:
    found = compare(record, record)
    assert found.metrics["top1"][2:] == (0.0, (0.0, 0.0))
    assert (found.fixed, found.broken, found.p_value) == ([], [], 1.0)
    assert "do not separate A and B" in found.verdict


@pytest.mark.parametrize(
    ("fixed", "broken"), [(0, 0), (0, 4), (3, 3), (2, 11), (17, 5), (900, 1100), (9000, 9400)]
)  # the last took sums of integers a minute
def test_mcnemar_is_the_exact_binomial_test(fixed: int, broken: int) -> None:
    changed = fixed + broken
    # in logarithms
    log_half = [
        math.lgamma(changed + 1) - math.lgamma(k + 1) - math.lgamma(changed - k + 1) - changed * math.log(2)
        for k in range(min(fixed, broken) + 1)
    ]
    assert mcnemar(fixed, broken) == pytest.approx(min(1.0, 2 * sum(map(math.exp, log_half))), rel=1e-9)


@pytest.mark.parametrize(
    ("num_fixed", "num_broken", "words"),
    [(9, 0, "B is better than A"), (0, 9, "B is worse than A"), (5, 5, "contains zero"), (0, 4, "4 changed, too few")],
)
def test_verdict_wants_interval_and_test_to_agree(
    make_score: MakeScore, num_fixed: int, num_broken: int, words: str
) -> None:
    num_same = 24 - num_fixed - num_broken
    right, wrong = (0, 0, 3.0), (0, 1, 3.0)
    a = saying(make_score, num_fixed * [wrong] + num_broken * [right] + num_same * [right])
    b = saying(make_score, num_fixed * [right] + num_broken * [wrong] + num_same * [right])
    assert words in compare(a, b).verdict


def test_classes_in_another_order_are_the_same_classes(record: EvaluationRecord) -> None:
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    scores = [
        replace(score, label=order.tolist().index(score.label), logits=score.logits[:, order])
        for score in record.scores
    ]
    turned = EvaluationRecord([record.class_names[index] for index in order.tolist()], scores)
    found = compare(record, turned)
    assert (found.fixed, found.broken) == ([], [])
    assert found.metrics["top1"].b > 0.3


def test_other_videos_classes_or_labels_are_refused(record: EvaluationRecord) -> None:
    fewer = replace(record, scores=record.scores[4:])
    with pytest.raises(UserError, match=r"same videos; only A has 4: 0\.mp4, 1\.mp4, 2\.mp4, \.\.\."):
        compare(record, fewer)
    with pytest.raises(UserError, match="same classes; only A has 1: class 6; only B has 1: other"):
        compare(record, replace(record, class_names=[*record.class_names[:-1], "other"]))
    relabeled = replace(record.scores[0], label=(record.scores[0].label + 1) % 7)
    with pytest.raises(UserError, match=r"1 videos have another label in B than in A, such as 0\.mp4"):
        compare(record, replace(record, scores=[relabeled, *record.scores[1:]]))
    with pytest.raises(UserError, match="no video has a known class"):
        compare(replace(record, scores=[]), record)
    with pytest.raises(UserError, match="more than once"):
        compare(replace(record, scores=2 * record.scores), record)


def test_what_else_was_done_otherwise_is_said(record: EvaluationRecord) -> None:
    other = replace(record, about={"checkpoint": "last.ckpt", "views": "1 clip"}).averaged_by("logits")
    found = compare(record, other)
    assert found.about == {
        "checkpoint": ("best.ckpt", "last.ckpt"),
        "views": ("3 clips x 2 crops of 5 px", "1 clip"),
        "average": ("softmax", "logits"),
    }
    assert found.other_conditions == [
        "A and B also differ in views: 3 clips x 2 crops of 5 px and 1 clip.",
        "A and B also differ in average: softmax and logits.",
    ]
    assert compare(record, replace(record, about={**record.about, "checkpoint": "last.ckpt"})).other_conditions == []
    assert "also differ in views" in comparison_page(found, "a", "b")
