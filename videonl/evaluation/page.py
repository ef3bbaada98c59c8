"""An evaluation, or a comparison of two, as one self-contained HTML file without scripts."""

import base64
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from videonl.evaluation.comparison import Comparison
from videonl.evaluation.fewer_views import accuracy_by_views
from videonl.evaluation.figures import confusion_png, reliability_svg, views_svg
from videonl.evaluation.intervals import NUM_RESAMPLES, caution, hits_of
from videonl.evaluation.metrics import calibration, confusion_matrix, intervals_of, metrics_of
from videonl.evaluation.pairing import Pair
from videonl.evaluation.record import EvaluationRecord
from videonl.evaluation.several import average_precisions, best_threshold
from videonl.evaluation.strips import film_strip
from videonl.evaluation.views import VideoScore, stack
from videonl.names import shortened

_MOST_CONFUSIONS = 12
_MANY_CLASSES = 60  # from here on the table of classes is folded
_MOST_TRUE = 5  # true classes that a card names
_LONG_NAME = 100  # characters; of a longer one the middle is shown on hovering alone


class ClassRow(NamedTuple):
    """One class in the table: its accuracy, and which class it is most often taken for."""

    name: str
    num_videos: int
    accuracy: float
    taken_for: str
    num_taken: int


class Confusion(NamedTuple):
    """Number of videos of one class that were predicted as another."""

    true: str
    predicted: str
    num_videos: int
    share: float


class Shown(NamedTuple):
    """A video as a card: its true classes, its predictions, most important first, and a strip of its frames."""

    path: str
    true: tuple[str, ...]
    answers: list[tuple[str, str, float]]  # whose it is, the class, its probability
    strip: bytes | None


def evaluation_page(record: EvaluationRecord, num_mistakes: int = 24) -> str:
    """The report of an evaluation.

    Args:
        record: An evaluation with at least one video of known class.
        num_mistakes: How many of the worst mistakes to show.
    """
    scores = record.labeled
    points = accuracy_by_views(scores)
    wrong = worst_mistakes(scores)
    several = record.has_several_labels
    own = _of_several_labels(record) if several else _of_one_label(record)
    return render(
        "several.html" if several else "evaluation.html",
        record=record,
        num_videos=len(scores),
        metrics=metrics_of(scores, record.threshold),
        intervals=intervals_of(scores, record.threshold),
        views=[(crops, list(line)) for crops, line in groupby(points, key=lambda point: point.num_crops)],
        views_figure=views_svg(points, "mAP" if several else "top-1") if len(points) > 1 else None,
        many_classes=len(record.class_names) >= _MANY_CLASSES,
        num_wrong=len(wrong),
        mistakes=[_mistake(score, record.class_names) for score in wrong[:num_mistakes]],
        **own,
    )


def _of_one_label(record: EvaluationRecord) -> dict[str, Any]:
    """What a report shows where each video has one class."""
    probabilities, labels = stack(record.labeled)
    counts = confusion_matrix(probabilities, labels)
    calibrated = calibration(probabilities, labels)
    return {
        "caution": caution(len(labels), int(hits_of(probabilities, labels).sum())),
        "calibration": calibrated,
        "confidence": float(probabilities.max(dim=1).values.mean()),
        "reliability": reliability_svg(calibrated),
        "confusion": confusion_png(counts, record.class_names),
        "confusions": _confusions(counts, record.class_names),
        "classes": class_rows(counts, record.class_names),
    }


def _of_several_labels(record: EvaluationRecord) -> dict[str, Any]:
    """What a report shows where a video has any number of classes."""
    probabilities, targets = stack(record.labeled)
    numbers, precisions = targets.sum(dim=0).tolist(), average_precisions(probabilities, targets).tolist()
    rows = zip(record.class_names, numbers, precisions, strict=True)
    best = best_threshold(probabilities, targets) if record.threshold is None else record.threshold
    return {
        "caution": caution(len(targets), metric="hit at 1"),
        "threshold": best,
        "classes": sorted((ap, name, number) for name, number, ap in rows if number),
        "missing": [name for name, number in zip(record.class_names, numbers, strict=True) if not number],
    }


def comparison_page(comparison: Comparison, a: str, b: str, num_videos: int = 24) -> str:
    """The report of a comparison.

    Args:
        comparison: What was found.
        a: What the first evaluation is called.
        b: What the second is called.
        num_videos: How many of the videos fixed, and of those broken, to show.
    """
    names = comparison.class_names
    return render(
        "comparison.html",
        comparison=comparison,
        a=a,
        b=b,
        caution=caution(comparison.num_videos),
        fixed=[_changed(pair, names) for pair in comparison.fixed[:num_videos]],
        broken=[_changed(pair, names) for pair in comparison.broken[:num_videos]],
    )


def worst_mistakes(scores: Sequence[VideoScore]) -> list[VideoScore]:
    """The videos whose most probable class is not true, highest confidence first."""
    wrong = [score for score in scores if score.prediction not in score.labels]
    return sorted(wrong, key=lambda score: (-float(score.probabilities.max()), score.path))


def class_rows(counts: Tensor, names: Sequence[str]) -> list[ClassRow]:
    """The table of the classes that have videos, the worst first, from counts (K, K) of true by predicted classes."""
    rows = []
    for index, (name, row) in enumerate(zip(names, counts, strict=True)):
        num_videos, right = int(row.sum()), int(row[index])
        if num_videos:
            others = row.clone()
            others[index] = 0
            other = int(others.argmax())
            rows.append(ClassRow(name, num_videos, right / num_videos, names[other], int(others[other])))
    return sorted(rows, key=lambda row: (row.accuracy, row.name))


def _confusions(counts: Tensor, names: Sequence[str]) -> list[Confusion]:
    wrong = counts.clone()
    wrong.fill_diagonal_(0)
    sizes = counts.sum(dim=1).tolist()
    found = [
        Confusion(names[row], names[column], int(wrong[row, column]), int(wrong[row, column]) / sizes[row])
        for row, column in wrong.nonzero().tolist()
    ]
    return sorted(found, key=lambda confusion: (-confusion.num_videos, -confusion.share, confusion.true))[
        :_MOST_CONFUSIONS
    ]


def _mistake(score: VideoScore, names: Sequence[str]) -> Shown:
    true = [("true", names[label], float(score.probabilities[label])) for label in score.labels[:_MOST_TRUE]]
    answers = [("predicted", names[score.prediction], float(score.probabilities.max())), *true]
    return Shown(score.path, _true_names(score, names), answers, film_strip(score.path))


def _true_names(score: VideoScore, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[label] for label in score.labels)


def _changed(pair: Pair, names: Sequence[str]) -> Shown:
    answers = [
        (which, names[score.prediction], float(score.probabilities.max()))
        for which, score in (("A", pair.a), ("B", pair.b))
    ]
    return Shown(pair.a.path, _true_names(pair.a, names), answers, film_strip(pair.a.path))


def render(template: str, package: str = "videonl.evaluation", **values: Any) -> str:
    """Fills in a template of a package, which may extend those of this one."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("videonl.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share, digits=1: f"{100 * share:.{digits}f} %"
    environment.filters["points"] = lambda share, digits=1: f"{100 * share:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    environment.filters["range"] = lambda interval: f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    environment.filters["transpose"] = lambda rows: list(zip(*rows, strict=True))
    environment.filters["name"] = _name
    environment.filters["data_uri"] = _data_uri
    return environment.get_template(template).render(num_resamples=NUM_RESAMPLES, **values)


def _name(name: str) -> str:
    if len(name) <= _LONG_NAME:
        return name
    return Markup('<span class="long" title="{}">{}</span>').format(name, shortened(name, _LONG_NAME))


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
