"""An evaluation for people: tables in the terminal, and files beside the record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from videonl.errors import IncompleteError
from videonl.evaluation.averaging import is_of_several
from videonl.evaluation.comparison import Comparison
from videonl.evaluation.figures import confusion_png
from videonl.evaluation.intervals import Interval, accuracy_intervals, caution, hits_of
from videonl.evaluation.metrics import accuracies, calibration, confusion_matrix
from videonl.evaluation.page import evaluation_page
from videonl.evaluation.record import EvaluationRecord, write_record
from videonl.evaluation.several import several_intervals, several_metrics
from videonl.evaluation.several_page import several_page
from videonl.evaluation.views import VideoScore, require_finite, stack
from videonl.files import whole_file, write_text
from videonl.terminal import Console

NUM_MISTAKES = 24
TITLES = {
    **{"top1": "top-1", "top5": "top-5", "mean_class": "mean class", "map": "mAP", "f1": "F1 at 0.5"},
    **{"f1_macro": "macro F1 at 0.5", "hit1": "top-1 is true", "hit5": "one of top-5 is true"},
}


class Written(NamedTuple):
    """The files of an evaluation; page and picture exist only if the class of a video is known."""

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
    confusion = confusion_of(page)
    if record.labeled:
        require_finite(record.labeled)
        make = several_page if record.has_several_labels else evaluation_page
        write_text(page, make(record, num_mistakes))
        if record.has_several_labels:  # a confusion matrix is of one class for each video
            return confusion
        counts = confusion_matrix(*stack(record.labeled))
        with whole_file(confusion) as file:
            file.write(confusion_png(counts, record.class_names))
    return confusion


def confusion_of(page: Path) -> Path:
    """The path of the confusion matrix of a page."""
    return page.with_name(f"{page.stem}_confusion.png")


def print_evaluation(console: Console, scores: Sequence[VideoScore], num_unreadable: int = 0) -> None:
    """Prints accuracies with their intervals and the calibration error, in percent.

    Args:
        console: Where to.
        scores: Of the videos that could be read.
        num_unreadable: How many could not.

    Raises:
        UserError: Scores are not finite.
    """
    require_finite(scores)
    probabilities, labels = stack(scores)
    several = is_of_several(scores[0].average)
    measure, spread = (several_metrics, several_intervals) if several else (accuracies, accuracy_intervals)
    metrics, intervals = measure(probabilities, labels), spread(probabilities, labels)
    table = Table(title=f"accuracy on {_counted(len(scores), num_unreadable)}")
    for column in ("", "accuracy", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, value in metrics.items():
        table.add_row(TITLES[name], f"{100 * value:.2f} %", _range(intervals[name]))
    if several:
        console.print(table)
        return
    table.add_row("calibration error", f"{100 * calibration(probabilities, labels).error:.2f} %", "")
    console.print(table)
    if warning := caution(len(scores), int(hits_of(probabilities, labels).sum())):
        console.print(warning, style="yellow")


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
    test = "" if comparison.p_value is None else f"; exact McNemar p = {comparison.p_value:.3g}"
    console.print(f"{fixed} videos fixed, {broken} broken{test}")
    for sentence in (comparison.verdict, *comparison.other_conditions):
        console.print(sentence, markup=False, highlight=False)
    changed = [change for change in comparison.classes if change.a != change.b]
    for change in changed:
        points = 100 * (change.b - change.a)
        console.print(f"  {points:+7.1f}  {change.name} ({change.num_videos} videos)", markup=False, highlight=False)


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %"
