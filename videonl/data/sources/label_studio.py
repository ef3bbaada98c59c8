"""Label Studio's JSON export: choices for whole videos, or timeline labels for ranges of frames."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from videonl.data.reading.segment import Segment, part_of
from videonl.data.reading.url_path import Where
from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.data.sources.finding import VideosBelow, require_some
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.several import joined
from videonl.data.sources.times import segment_between
from videonl.errors import UserError

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


class _Given(NamedTuple):
    """What an annotator gave: labels of a segment, or of the whole video."""

    name: str
    segment: Segment | None
    labels: tuple[str, ...]


def is_label_studio(file: ListFile) -> bool:
    """Whether it is a JSON list of tasks, each with ``data``."""
    tasks = file.content if file.is_json else None
    return (
        isinstance(tasks, list)
        and bool(tasks)
        and all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks)
    )


def read_label_studio(file: ListFile) -> list[LabeledPath]:
    """The videos with the choices made for them, or the ranges of frames with their timeline labels.

    Ranges count frames from 1 and include their end, as Label Studio's player does. A task that nobody annotated is a
    video without label; one whose annotation chose nothing is of no class. Skipped annotations and predictions do not
    count. Uploads are found with or without the prefix that Label Studio gives them.

    Raises:
        UserError: A task is malformed, annotators disagree, the file holds several kinds of labels, or no video exists.
    """
    videos = VideosBelow(file.base)
    tasks = [
        (f"{file.path}: item {place}, task {task.get('id', place)}", task)
        for place, task in enumerate(file.content, start=1)
    ]
    given = [[list(_given(each, origin)) for each in _annotations(task, origin)] for origin, task in tasks]
    everything = [each for annotations in given for every in annotations for each in every]
    chosen = _chosen_name(file, {each.name for each in everything})
    is_timeline = any(each.segment for each in everything if each.name == chosen)
    entries = []
    for (origin, task), annotations in zip(tasks, given, strict=True):
        path = _find(_video_of(task["data"], origin), videos)
        split = str(task["data"].get("split") or "")
        for number, (segment, label) in enumerate(_agreed(annotations, chosen, is_timeline, origin), start=1):
            at = f"{origin}, range {number}" if segment else origin
            entries.append(LabeledPath(part_of(path, segment), label, at, split))
    if not entries:
        raise UserError(f"{file.path}: no video has a label. Annotate some, and export them again.")
    require_some(file.path, entries, videos)
    return entries


def _annotations(task: Mapping[str, Any], origin: str) -> list[list[Any]]:
    """The results of every annotation that was not skipped."""
    annotations = task.get("annotations") or []
    if not isinstance(annotations, list) or not all(
        isinstance(each, dict) and isinstance(each.get("result"), list) for each in annotations
    ):
        raise UserError(f"{origin}: its annotations hold no list 'result'. Export as JSON again.")
    return [each["result"] for each in annotations if not each.get("was_cancelled")]


def _given(results: Sequence[Any], origin: str) -> Iterator[_Given]:
    for result in results:
        try:
            value, name = result["value"], str(result.get("from_name", ""))
            if "choices" in value:
                yield _Given(name, None, _texts(value["choices"]))
            elif "timelinelabels" in value:
                for frames in value["ranges"]:
                    start, end = int(frames["start"]), int(frames["end"])
                    segment = segment_between(max(start, 1) - 1, end, origin, in_frames=True)
                    yield _Given(name, segment, _texts(value["timelinelabels"]))
        except UserError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(
                f"{origin}: a result is malformed ({type(error).__name__}: {error}). Export again."
            ) from error


def _texts(labels: Any) -> tuple[str, ...]:
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) and label for label in labels):
        raise TypeError(f"{labels!r} is no list of labels")
    return tuple(labels)


def _chosen_name(file: ListFile, names: set[str]) -> str:
    asked = file.reading.columns.get("label")
    if asked is not None and asked not in names:
        raise UserError(
            f"{file.path}: has no labels named {asked}, but {', '.join(sorted(names)) or 'none'}. Correct it."
        )
    if asked is None and len(names) > 1:
        raise UserError(
            f"{file.path}: holds labels of several kinds, {', '.join(sorted(names))}. Choose one: --data.columns "
            f"label={min(names)} (or --columns)."
        )
    return asked if asked is not None else next(iter(names), "")


def _agreed(
    lists: Sequence[Sequence[_Given]], name: str, is_timeline: bool, origin: str
) -> list[tuple[Segment | None, str | None]]:
    """The segments and labels on which all annotators agree."""
    each = [[given for given in every if given.name == name] for every in lists]
    if not each:
        return [(None, None)]
    if any(sorted(every, key=str) != sorted(each[0], key=str) for every in each[1:]):
        raise UserError(f"{origin}: its {len(each)} annotations differ. Keep one of them, and export again.")
    if is_timeline:
        return [(given.segment, joined(given.labels)) for given in each[0]]
    return [(None, joined(dict.fromkeys(label for given in each[0] for label in given.labels)))]


def _video_of(data: Mapping[str, Any], origin: str) -> str:
    """The path in a task's data, however Label Studio serves it."""
    values = [data.get("video"), *data.values()]
    for value in (value for value in values if isinstance(value, str)):
        url = urlsplit(value)
        served = parse_qs(url.query).get("d")
        path = served[0] if served else unquote(url.path) if url.scheme or value.startswith("/data/") else value
        if is_video_name(Path(path).name):
            return path
    raise UserError(f"{origin}: its data names no video file, but {dict(data)!r}. Correct it.")


def _find(path: str, videos: VideosBelow) -> Where:
    """The longest end of the path that exists below the root, or else a file of that name."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for first in range(len(parts)):
        if below := videos.below("/".join(parts[first:])):
            return below
    plain = _UPLOAD.sub("", Path(path).stem, count=1)
    return videos.find((Path(path).stem, plain), f"{plain}{Path(path).suffix}")
