"""An evaluation of several labels as one self-contained HTML file."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from videonl.evaluation.page import render
from videonl.evaluation.record import EvaluationRecord
from videonl.evaluation.several import average_precisions, several_intervals, several_metrics, without_positive
from videonl.evaluation.strips import film_strip
from videonl.evaluation.views import VideoScore, stack


class ClassPrecision(NamedTuple):
    """One class in the table: how many videos have it, and its average precision."""

    name: str
    num_videos: int
    precision: float


class Judged(NamedTuple):
    """A video as a card, in the places of :class:`videonl.evaluation.page.Shown`."""

    path: str
    true: str
    answers: list[tuple[str, str, float]]
    strip: bytes | None


def several_page(record: EvaluationRecord, num_mistakes: int = 24) -> str:
    """The report of an evaluation with several labels.

    Args:
        record: An evaluation with at least one labeled video.
        num_mistakes: How many of the worst videos to show: where the most probable class is wrong.
    """
    scores = record.labeled
    probabilities, targets = stack(scores)
    wrong = [score for score in scores if score.prediction not in score.true_classes]
    worst = sorted(wrong, key=lambda score: (-float(score.probabilities.max()), score.path))[:num_mistakes]
    return render(
        "several.html",
        record=record,
        num_videos=len(scores),
        metrics=several_metrics(probabilities, targets),
        intervals=several_intervals(probabilities, targets),
        left_out=without_positive(targets, record.class_names),
        classes=class_precisions(probabilities, targets, record.class_names),
        num_wrong=len(wrong),
        mistakes=[_judged(score, record.class_names) for score in worst],
    )


def class_precisions(probabilities: Tensor, targets: Tensor, names: Sequence[str]) -> list[ClassPrecision]:
    """The classes that have a video, the lowest average precision first."""
    precisions, counts = average_precisions(probabilities, targets).tolist(), targets.sum(dim=0).tolist()
    rows = [ClassPrecision(*row) for row in zip(names, counts, precisions, strict=True) if row[1]]
    return sorted(rows, key=lambda row: (row.precision, row.name))


def _judged(score: VideoScore, names: Sequence[str]) -> Judged:
    answers = [("predicted", names[score.prediction], float(score.probabilities.max()))]
    answers += [("true", names[index], float(score.probabilities[index])) for index in score.true_classes]
    true = "; ".join(names[index] for index in score.true_classes) or "no class"
    return Judged(score.path, true, answers, film_strip(score.path))
