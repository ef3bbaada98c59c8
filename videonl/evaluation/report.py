"""An evaluation for people: tables in the terminal, and files beside the record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from videonl.errors import IncompleteError
from videonl.evaluation.comparison import Comparison
from videonl.evaluation.intervals import Interval, caution, hits_of
from videonl.evaluation.metrics import TITLES, calibration, confusion_matrix, intervals_of, metrics_of
from videonl.evaluation.record import EvaluationRecord, write_record
from videonl.evaluation.several import best_threshold
from videonl.evaluation.views import SEVERAL_LABELS, VideoScore, require_finite, stack
from videonl.files import whole_file, write_text
from videonl.terminal import Console

NUM_MISTAKES = 24


class Written(NamedTuple):
    """The files of an evaluation; the page exists if the class of a video is known, the picture of one label each."""

    record: Path
    page: Path
    confusion: Path


def write_evaluation(directory: Path, name: str, record: EvaluationRecord, num_mistakes: int = NUM_MISTAKES) -> Written:
    """Writes the record, the page and the confusion matrix: NAME.parquet, NAME.html, NAME_confusion.png.

    Args:
        directory: Where to write; files of the same names are replaced.
        name: What the files are called.
        record: The evaluation.
        num_mistakes: How many of the worst mistakes the page shows.
    """
    path, page, _ = (directory / file for file in names_of(name))
    write_record(path, record)  # first, so that nothing that fails later can lose it
    for older in (page, confusion_of(page)):  # where there is no new one, it would pass for this record's
        if older.is_file():
            older.unlink()
    return Written(path, page, write_page(page, record, num_mistakes))


def names_of(name: str) -> tuple[str, str, str]:
    """The names of an evaluation's record, page and confusion matrix."""
    return f"{name}.parquet", f"{name}.html", f"{name}_confusion.png"


def write_page(page: Path, record: EvaluationRecord, num_mistakes: int = NUM_MISTAKES) -> Path:
    """Writes the page, and the confusion matrix beside it, whose path is returned.

    Raises:
        UserError: Scores are not finite, or the files cannot be written there.
    """
    # Here: matplotlib takes a second, and the work before need not wait for it.
    from videonl.evaluation.figures import confusion_png
    from videonl.evaluation.page import evaluation_page

    confusion = confusion_of(page)
    if record.labeled:
        require_finite(record.labeled)
        write_text(page, evaluation_page(record, num_mistakes))
    if record.labeled and not record.has_several_labels:
        counts = confusion_matrix(*stack(record.labeled))
        with whole_file(confusion) as file:
            file.write(confusion_png(counts, record.class_names))
    return confusion


def confusion_of(page: Path) -> Path:
    """The path of the confusion matrix of a page."""
    return page.with_name(f"{page.stem}_confusion.png")


def print_evaluation(
    console: Console, scores: Sequence[VideoScore], num_unreadable: int = 0, threshold: float | None = None
) -> None:
    """Prints metrics with their intervals, and of one label a video the calibration error, in percent.

    Args:
        console: Where to.
        scores: Of the videos that could be read.
        num_unreadable: How many could not.
        threshold: Of several labels, the probability that the validation videos chose.

    Raises:
        UserError: Scores are not finite.
    """
    require_finite(scores)
    several = scores[0].average in SEVERAL_LABELS
    metrics, intervals = metrics_of(scores, threshold), intervals_of(scores, threshold)
    what = "metrics" if several else "accuracy"
    table = Table(title=f"{what} on {_counted(len(scores), num_unreadable)}")
    for column in ("", "value" if several else what, "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, value in metrics.items():
        table.add_row(TITLES[name], f"{100 * value:.2f} %", _range(intervals[name]))
    if not several:
        table.add_row("calibration error", f"{100 * calibration(*stack(scores)).error:.2f} %", "")
    console.print(table)
    for line in _remarks(scores, threshold) if several else []:
        console.print(line, highlight=False)
    num_hits = None if several else int(hits_of(*stack(scores)).sum())
    if warning := caution(len(scores), num_hits, "hit at 1" if several else "top-1"):
        console.print(warning, style="yellow")


def _remarks(scores: Sequence[VideoScore], threshold: float | None) -> list[str]:
    """How the metrics of several labels are meant."""
    probabilities, targets = stack(scores)
    num_missing = int((targets.sum(dim=0) == 0).sum())
    missing = f"; {num_missing} classes without one are left out" if num_missing else ""
    num_classes = targets.shape[1] - num_missing
    best = best_threshold(probabilities, targets) if threshold is None else threshold
    whose = "of these videos" if threshold is None else "of the validation videos"
    return [
        f"mAP is the mean over {num_classes} classes with a video{missing}",
        f"F1 at best is that at {best:.3g}, the best threshold {whose}",
    ]


def require_readable(unreadable: Mapping[str, str], num_scored: int, max_share: float | None) -> None:
    """Raises an IncompleteError if more videos than allowed have no score.

    Args:
        unreadable: Why a video has no score, by its file.
        num_scored: How many have one.
        max_share: Share of the videos that may have none; ``None`` allows none.
    """
    num_videos = num_scored + len(unreadable)
    if len(unreadable) > (max_share or 0) * num_videos:
        listed = "\n".join(f"  {path}: {reason}" for path, reason in sorted(unreadable.items()))
        raise IncompleteError(
            f"{len(unreadable)} of {num_videos} videos could not be read and have no score:\n{listed}\n"
            "Repair or remove them, or allow a share of them with --max-failed-share "
            "(of videonl test, validate and predict: --data.loading.max_failed_share)."
        )


def _counted(num_scored: int, num_unreadable: int) -> str:
    if not num_unreadable:
        return f"{num_scored} video{'s' * (num_scored != 1)}"
    return f"{num_scored} of {num_scored + num_unreadable} videos, {num_unreadable} unreadable"


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Prints both accuracies, their difference with its interval, and the classes that changed."""
    table = Table(title=f"{comparison.num_videos} videos, B - A in points")
    for column in ("", "A", "B", "B - A", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, found in comparison.metrics.items():
        low, high = (f"{100 * edge:+.2f}" for edge in found.interval)
        both = (f"{100 * value:.2f} %" for value in (found.a, found.b))
        table.add_row(TITLES[name], *both, f"{100 * found.difference:+.2f}", f"{low} to {high}")
    console.print(table)
    fixed, broken = len(comparison.fixed), len(comparison.broken)
    what = " (the most probable class is a true one)" if "map" in comparison.metrics else ""
    console.print(f"{fixed} videos fixed, {broken} broken{what}; exact McNemar p = {comparison.p_value:.3g}")
    for sentence in (comparison.verdict, *comparison.other_conditions):
        console.print(sentence, markup=False, highlight=False)
    changed = [change for change in comparison.classes if change.a != change.b]
    for change in changed:
        points = 100 * (change.b - change.a)
        console.print(f"  {points:+7.1f}  {change.name} ({change.num_videos} videos)", markup=False, highlight=False)


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %"
