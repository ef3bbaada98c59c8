"""The record of an evaluation: a Parquet file with one row per video and the logits of its every view."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from videonl.data.reading.segment import COLUMNS as COLUMNS_OF_SEGMENTS
from videonl.data.reading.segment import named_place, segment_of
from videonl.data.video import UNKNOWN, Label
from videonl.errors import UserError
from videonl.evaluation.metrics import metrics_of
from videonl.evaluation.views import AVERAGES, SEVERAL_LABELS, Average, VideoScore, require_finite
from videonl.files import whole_path
from videonl.terminal import printable

_KEY = b"videonl"
_ROWS = 1024  # videos per row group: what is in memory twice while reading and writing
VIEW = pa.struct([("clip", pa.int32()), ("crop", pa.int32()), ("logits", pa.list_(pa.float32()))])
COLUMNS = pa.schema(
    [
        ("video", pa.int64()),
        ("path", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("start_frame", pa.int64()),
        ("end_frame", pa.int64()),
        ("label", pa.string()),
        ("prediction", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
        ("views", pa.list_(VIEW)),
    ]
)
ERROR = pa.field("error", pa.string())


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
    about = {"average": record.average, "about": record.about, "unreadable": record.unreadable}
    schema = schema_of(record.class_names, about)
    written = schema.append(ERROR) if with_unreadable else schema
    with whole_path(path) as unfinished, pq.ParquetWriter(unfinished, written, compression="zstd") as writer:
        for start in range(0, len(record.scores), _ROWS):
            rows = to_rows(record.scores[start : start + _ROWS], schema)
            writer.write_batch(rows.append_column(ERROR, pa.nulls(len(rows), ERROR.type)) if with_unreadable else rows)
        if with_unreadable and record.unreadable:
            writer.write_batch(_unreadable_rows(record.unreadable, written))


def read_record(path: Path) -> EvaluationRecord:
    """Reads what :func:`write_record` wrote.

    Raises:
        UserError: The file is missing, or is not such a record.
    """
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


def _unreadable_rows(unreadable: Mapping[str, str], schema: pa.Schema) -> pa.RecordBatch:
    columns = {"path": list(unreadable), ERROR.name: list(unreadable.values())}
    empty = [None] * len(unreadable)
    return pa.RecordBatch.from_arrays(
        [pa.array(columns.get(field.name, empty), type=field.type) for field in schema], schema=schema
    )


def _checked(about: dict[str, Any]) -> dict[str, Any]:
    """The metadata, with its types checked."""
    for name in ("about", "unreadable"):
        if not isinstance(about[name], dict) or not all(isinstance(text, str) for text in about[name].values()):
            raise ValueError(f"its {name!r} is not a mapping of names to text")
    if not isinstance(about["class_names"], list) or not all(isinstance(name, str) for name in about["class_names"]):
        raise ValueError("its class names are not a list of text")
    return about


def schema_of(class_names: Sequence[str], about: Mapping[str, Any]) -> pa.Schema:
    """The columns, with the class names and plain data about the evaluation as the file's metadata."""
    names = [printable(name) for name in class_names]
    text = json.dumps({"class_names": names, **about}, ensure_ascii=False)
    return COLUMNS.with_metadata({_KEY: text.encode(errors="backslashreplace")})  # names of files may be no text


def to_rows(scores: Sequence[VideoScore], schema: pa.Schema) -> pa.RecordBatch:
    """One row per video."""
    class_names = metadata_of(schema)["class_names"]
    columns = [
        [score.video for score in scores],
        [score.path for score in scores],
        *_segments(scores),
        [_named(score, class_names) for score in scores],
        [class_names[score.prediction] if score.is_finite else None for score in scores],
        _lists([score.probabilities.numpy() for score in scores], pa.float64()),
        _views(scores),
    ]
    arrays = [pa.array(column, type=kind.type) for column, kind in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def from_rows(rows: pa.RecordBatch, about: Mapping[str, Any]) -> Iterator[VideoScore]:
    """The scores of the rows; label and average are looked up in the metadata."""
    index_of = {name: index for index, name in enumerate(about["class_names"])}
    average = about["average"]
    if average not in AVERAGES:
        raise ValueError(f"unknown average {average!r}")
    if ERROR.name in rows.schema.names:
        rows = rows.filter(rows[ERROR.name].is_null())
    views = rows["views"]
    flat = views.flatten()
    logits = torch.from_numpy(flat.field("logits").flatten().to_numpy().copy()).view(len(flat), -1)
    numbers = list(zip(flat.field("clip").to_pylist(), flat.field("crop").to_pylist(), strict=True))
    ends = np.cumsum(views.value_lengths().to_numpy())
    plain = zip(*(rows[name].to_pylist() for name in ("video", "path", "label")), strict=True)
    for (video, path, label), start, end in zip(plain, [0, *ends[:-1]], ends, strict=True):
        yield VideoScore(
            video, path, _label(label, average, index_of), logits[start:end].clone(), tuple(numbers[start:end]), average
        )


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """Class names and the other arguments of :func:`schema_of`."""
    metadata: dict[str, Any] = json.loads((schema.metadata or {})[_KEY])
    return metadata


def _views(scores: Sequence[VideoScore]) -> pa.ListArray:
    numbers = np.array([number for score in scores for number in score.views], dtype=np.int32).reshape(-1, 2)
    logits = _lists([view for score in scores for view in score.logits.numpy()], pa.float32())
    views = pa.StructArray.from_arrays([numbers[:, 0], numbers[:, 1], logits], fields=list(VIEW))
    return pa.ListArray.from_arrays(_offsets([len(score.views) for score in scores]), views)


def _named(score: VideoScore, class_names: Sequence[str]) -> str | None:
    """The names of the true classes: one as it is, several as a JSON list."""
    if not score.is_labeled:
        return None
    names = [class_names[index] for index in score.labels]
    return json.dumps(names, ensure_ascii=False) if isinstance(score.label, tuple) else names[0]


def _label(text: str | None, average: Average, index_of: Mapping[str, int]) -> Label:
    if text is None:
        return UNKNOWN
    return tuple(index_of[name] for name in json.loads(text)) if average in SEVERAL_LABELS else index_of[text]


def _segments(scores: Sequence[VideoScore]) -> list[list[Any]]:
    """Which part of its file each score is of, which its path says too; null for whole videos."""
    segments = [segment_of(named_place(score.path)) for score in scores]
    rows = [segment.columns() if segment else dict.fromkeys(COLUMNS_OF_SEGMENTS) for segment in segments]
    return [[row[name] for row in rows] for name in COLUMNS_OF_SEGMENTS]


def _lists(rows: Sequence[Any], kind: pa.DataType) -> pa.ListArray:
    values = np.concatenate(rows) if rows else np.empty(0)
    return pa.ListArray.from_arrays(_offsets([len(row) for row in rows]), pa.array(values, type=kind))


def _offsets(lengths: Sequence[int]) -> Any:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
