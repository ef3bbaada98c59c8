"""Results for people and for other programs: a table, and one CSV row per video."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from videonl.evaluation.views import VideoScore

TITLES = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class"}


def write_scores(path: Path, scores: Sequence[VideoScore], class_names: Sequence[str]) -> None:
    """Writes one row per video: path, label, prediction, and the probability of every class.

    Args:
        path: The CSV to write; it replaces an older one only when complete.
        scores: One score per video.
        class_names: Names in the order of the probabilities.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "prediction", *class_names])
        for score in scores:
            label = class_names[score.label] if score.label >= 0 else ""
            prediction = class_names[int(score.probabilities.argmax())]
            # repr keeps every digit, so that two files can be compared exactly.
            writer.writerow([score.path, label, prediction, *map(repr, score.probabilities.tolist())])
    unfinished.replace(path)


def print_accuracies(console: Console, metrics: Mapping[str, float], num_videos: int) -> None:
    """Prints accuracies in percent as a table."""
    table = Table(title=f"accuracy on {num_videos} videos")
    for name in metrics:
        table.add_column(TITLES.get(name, name), justify="right")
    table.add_row(*(f"{100 * value:.2f} %" for value in metrics.values()))
    console.print(table)
