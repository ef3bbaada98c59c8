"""The rows of a record: the scores of a video as columns of Arrow, and back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from videonl.data.reading.segment import COLUMNS as COLUMNS_OF_SEGMENTS
from videonl.data.reading.segment import named_place, segment_of
from videonl.data.video import UNKNOWN, Label
from videonl.evaluation.views import AVERAGES, SEVERAL_LABELS, Average, VideoScore
from videonl.terminal import printable

_KEY = b"videonl"
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


def unreadable_rows(unreadable: Mapping[str, str], schema: pa.Schema) -> pa.RecordBatch:
    """One row per video that could not be read, with the reason."""
    columns = {"path": list(unreadable), ERROR.name: list(unreadable.values())}
    empty = [None] * len(unreadable)
    return pa.RecordBatch.from_arrays(
        [pa.array(columns.get(field.name, empty), type=field.type) for field in schema], schema=schema
    )
