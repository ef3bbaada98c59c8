"""Pairs the videos of two evaluations."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from videonl.errors import UserError
from videonl.evaluation.record import EvaluationRecord
from videonl.evaluation.views import VideoScore, require_finite

_NUM_SHOWN = 3


class Pair(NamedTuple):
    """A video as A and as B scored it."""

    a: VideoScore
    b: VideoScore


def pairs_of(a: EvaluationRecord, b: EvaluationRecord) -> list[Pair]:
    """The videos of known class, each as both scored it, with B's classes in the order of A's.

    Raises:
        UserError: They are of other videos, classes or labels, or scores are not finite; the message says which.
    """
    if a.has_several_labels != b.has_several_labels:
        raise UserError("one evaluation is of one label a video, the other of several; compare evaluations of one task")
    _refuse_others("classes", set(a.class_names), set(b.class_names))
    by_path_a, by_path_b = _by_path(a), _by_path(b)
    _refuse_others("videos", set(by_path_a), set(by_path_b))
    order = [b.class_names.index(name) for name in a.class_names]
    pairs = [Pair(score, _reordered(by_path_b[path], order)) for path, score in by_path_a.items()]
    others = [pair.a.path for pair in pairs if pair.a.label != pair.b.label]
    if others:
        raise UserError(f"{len(others)} videos have another label in B than in A, such as {others[0]}")
    return pairs


def _by_path(record: EvaluationRecord) -> dict[str, VideoScore]:
    by_path = {score.path: score for score in record.labeled}
    if not by_path:
        raise UserError("no video has a known class, so there are no accuracies to compare")
    require_finite(record.labeled)
    if len(by_path) < len(record.labeled):
        raise UserError("an evaluation holds some videos more than once; remove the duplicates from its list")
    return by_path


def _reordered(score: VideoScore, order: Sequence[int]) -> VideoScore:
    """The score with its classes in another order: place i holds the class that was at ``order[i]``."""
    if list(order) == list(range(len(order))):
        return score  # as it is: a copy of every logit may be gigabytes
    logits = score.logits[:, torch.tensor(order)]
    places = tuple(sorted(order.index(label) for label in score.labels))
    label = places if isinstance(score.label, tuple) else places[0]
    return VideoScore(score.video, score.path, label, logits, score.views, score.average)


def _refuse_others(what: str, a: set[str], b: set[str]) -> None:
    if a != b:
        parts = [
            f"only {name} has {len(rest)}: {', '.join(sorted(rest)[:_NUM_SHOWN])}{', ...' * (len(rest) > _NUM_SHOWN)}"
            for name, rest in (("A", a - b), ("B", b - a))
            if rest
        ]
        raise UserError(f"the two evaluations do not have the same {what}; {'; '.join(parts)}. Evaluate both alike")
