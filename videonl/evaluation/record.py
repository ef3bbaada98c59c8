"""The record of an evaluation: a Parquet file with one row per video and the logits of its every view."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from videonl.errors import UserError
from videonl.evaluation.metrics import metrics_of
from videonl.evaluation.views import SEVERAL_LABELS, Average, VideoScore, require_finite
from videonl.files import whole_path

_ROWS = 1024  # videos per row group: what is in memory twice while reading and writing


@dataclass(frozen=True)
class EvaluationRecord:
    """The scores of an evaluation, and its settings.

    Attributes:
        class_names: Names in the order of the logits.
        scores: One per video that could be read.
        about: The settings in words, such as ``{"views": "10 clips x 3 crops of 256 px"}``.
        unreadable: The reason why a video has no score, by its file.
    """

    class_names: list[str]
    scores: list[VideoScore]
    about: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def average(self) -> Average:
        """How the views of a video were averaged."""
        return self.scores[0].average if self.scores else "softmax"

    @property
    def labeled(self) -> list[VideoScore]:
        """The scores of the videos whose class is known."""
        return [score for score in self.scores if score.is_labeled]

    @property
    def accuracies(self) -> dict[str, float]:
        """The metrics of the videos whose class is known; see :func:`videonl.evaluation.metrics.metrics_of`.

        Raises:
            UserError: There are no such videos, or their scores are not finite.
        """
        if not self.labeled:
            raise UserError("no video has a label that the network knows, so there is no accuracy")
        require_finite(self.labeled)
        return metrics_of(self.labeled, self.threshold)

    @property
    def has_several_labels(self) -> bool:
        """Whether a video has any number of classes, rather than one."""
        return self.average in SEVERAL_LABELS

    @property
    def threshold(self) -> float | None:
        """From which probability a class counts as predicted, as the validation videos chose it; None if unknown."""
        return float(self.about["threshold"]) if "threshold" in self.about else None

    def averaged_by(self, average: Average) -> "EvaluationRecord":
        """The same views, averaged in another way."""
        return replace(self, scores=[replace(score, average=average) for score in self.scores])


def write_record(path: Path, record: EvaluationRecord, with_unreadable: bool = False) -> None:
    """Writes a record; it replaces an older one only when complete.

    Args:
        path: The Parquet file.
        record: What to write. Equal records make equal files, byte for byte.
        with_unreadable: Write a row also for each video that could not be read, with the reason in a column ``error``.

    Raises:
        UserError: It cannot be written there.
    """
    # Here, as below: commands that neither read nor write one need not wait for pyarrow.
    import pyarrow as pa
    import pyarrow.parquet as pq

    from videonl.evaluation.record_rows import ERROR, schema_of, to_rows, unreadable_rows

    about = {"average": record.average, "about": record.about, "unreadable": record.unreadable}
    schema = schema_of(record.class_names, about)
    written = schema.append(ERROR) if with_unreadable else schema
    with whole_path(path) as unfinished, pq.ParquetWriter(unfinished, written, compression="zstd") as writer:
        for start in range(0, len(record.scores), _ROWS):
            rows = to_rows(record.scores[start : start + _ROWS], schema)
            writer.write_batch(rows.append_column(ERROR, pa.nulls(len(rows), ERROR.type)) if with_unreadable else rows)
        if with_unreadable and record.unreadable:
            writer.write_batch(unreadable_rows(record.unreadable, written))


def read_record(path: Path) -> EvaluationRecord:
    """Reads what :func:`write_record` wrote.

    Raises:
        UserError: The file is missing, or is not such a record.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from videonl.evaluation.record_rows import from_rows, metadata_of

    if path.is_dir():
        records = sorted(str(file) for file in path.glob("*.parquet"))
        remedy = f"name a record in it: {', '.join(records)}" if records else "it holds no .parquet file"
        raise UserError(f"{path} is a folder; {remedy}")
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a .parquet file that videonl test or videonl evaluate wrote")
    try:
        with pq.ParquetFile(path) as file:
            about = _checked(metadata_of(file.schema_arrow))
            rows = [score for batch in file.iter_batches(_ROWS) for score in from_rows(batch, about)]
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a record of videonl test or videonl evaluate ({error})") from error
    return EvaluationRecord(about["class_names"], rows, about["about"], about["unreadable"])


def _checked(about: dict[str, Any]) -> dict[str, Any]:
    """The metadata, with its types checked."""
    for name in ("about", "unreadable"):
        if not isinstance(about[name], dict) or not all(isinstance(text, str) for text in about[name].values()):
            raise ValueError(f"its {name!r} is not a mapping of names to text")
    if not isinstance(about["class_names"], list) or not all(isinstance(name, str) for name in about["class_names"]):
        raise ValueError("its class names are not a list of text")
    return about
