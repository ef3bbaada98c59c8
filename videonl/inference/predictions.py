"""Predictions of many videos, and the files they are written to."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from videonl.data.sources.several import joined
from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord
from videonl.evaluation.record import write_record
from videonl.evaluation.several import THRESHOLD
from videonl.files import write_text
from videonl.inference.prediction import Prediction


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[Prediction]):
    """What a network sees in many videos, in the order of their source.

    Attributes:
        record: All scores, as an evaluation keeps them.
        names: Every video, also those that could not be read.
        unreadable: Why a video has no prediction, by its name.
    """

    record: EvaluationRecord
    names: Sequence[str] = field(repr=False)

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Why a video has no prediction, by its name."""
        return self.record.unreadable

    def __len__(self) -> int:
        return len(self.record.scores)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...

    @overload
    def __getitem__(self, place: slice) -> list[Prediction]: ...

    def __getitem__(self, place: int | slice) -> Prediction | list[Prediction]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        score, names = self.record.scores[place], self.record.class_names
        known = tuple(names[label] for label in score.labels)
        target = None if not score.is_labeled else known if self.record.has_several_labels else known[0]
        threshold = self.record.threshold or THRESHOLD
        return Prediction(score.path, names, score.logits, score.views, score.average, target, threshold)

    def rows(self, top: int = 5) -> Iterator[dict[str, Any]]:
        """One row for every video: its best classes, or the reason why there are none.

        Args:
            top: How many classes.
        """
        found = {score.video: self[place] for place, score in enumerate(self.record.scores)}
        for video, name in enumerate(self.names):
            prediction = found.get(video)
            best = prediction.top(top) if prediction else []
            yield {
                "path": name,
                "label": _written(prediction.target) if prediction else None,
                "top": [{"class": label, "probability": probability} for label, probability in best],
                "error": self.unreadable.get(name),
            }

    def save(self, path: str | Path, top: int = 5) -> Path:
        """Writes the predictions, whole or not at all.

        Args:
            path: The suffix says what is written. ``.parquet``: every view of every video, as ``videonl evaluate``
                writes it, with a column ``error``; ``.csv`` and ``.json``: the best classes.
            top: How many classes a row of ``.csv`` and ``.json`` has.

        Raises:
            UserError: There is no such format, or the file cannot be written.
        """
        path = Path(path)
        format_of(path)(self, path, top)
        return path

    def __repr__(self) -> str:
        missing = f", {len(self.unreadable)} unreadable" if self.unreadable else ""
        return f"Predictions({len(self)} videos{missing})"


def _written(target: str | tuple[str, ...] | None) -> str | None:
    """A label as lists have it."""
    return joined(target) if isinstance(target, tuple) else target


def _write_parquet(predictions: Predictions, path: Path, top: int) -> None:
    write_record(path, predictions.record, with_unreadable=True)


def _write_csv(predictions: Predictions, path: Path, top: int) -> None:
    top = min(top, len(predictions.record.class_names))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "probability")]
    writer.writerow(["path", "label", *ranks, "error"])
    for row in predictions.rows(top):
        cells = [cell for best in row["top"] for cell in best.values()] or [""] * (2 * top)
        writer.writerow([row["path"], row["label"] or "", *cells, row["error"] or ""])
    write_text(path, text.getvalue())


def _write_json(predictions: Predictions, path: Path, top: int) -> None:
    content = {"about": predictions.record.about, "videos": list(predictions.rows(top))}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


FORMATS: Mapping[str, Callable[[Predictions, Path, int], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".json": _write_json,
}


def format_of(path: Path) -> Callable[[Predictions, Path, int], None]:
    """What writes a file of this name.

    Raises:
        UserError: Nothing does; the message lists the suffixes.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"cannot write predictions to {path}: give a name that ends in one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]
