"""ActivityNet's JSON: segments of every video in ``database``, and files ``v_ID.mp4`` somewhere below a folder."""

import logging
from collections.abc import Mapping
from typing import Any

from videonl.data.reading.segment import VideoPart
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.finding import VideosBelow, require_some
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.times import segment_between
from videonl.errors import UserError

_SPLITS = {"training": "train", "validation": "val", "testing": "test"}
_log = logging.getLogger(__name__)


def is_activitynet(file: ListFile) -> bool:
    """Whether it is JSON with a ``database`` of videos."""
    return file.is_json and isinstance(file.content, dict) and isinstance(file.content.get("database"), dict)


def read_activitynet(file: ListFile) -> list[LabeledPath]:
    """The segments of every video; one of ``testing``, which has none, as a whole and without label.

    The splits are train, val and test. A file is called ``v_ID`` or ``ID``, with any suffix of videos; a missing one
    is expected at ``root/v_ID.mp4``. Other videos without segments are left out, and counted.

    Raises:
        UserError: A video or a segment is malformed, or no file exists.
    """
    videos = VideosBelow(file.base)
    entries, empty = [], []
    for name, video in file.content["database"].items():
        origin = f"{file.path}: {name}"
        if not isinstance(video, dict) or not isinstance(video.get("annotations", []), list):
            raise UserError(f"{origin}: must hold a subset and a list of annotations. Copy the file again.")
        found = _of_video(name, video, origin, videos)
        entries += found
        empty += [] if found else [name]
    if empty:
        _log.warning("%s: left out %d videos without annotations, such as %s", file.path, len(empty), empty[0])
    if not entries:
        raise UserError(f"{file.path}: no videos listed. Copy it again.")
    require_some(file.path, entries, videos)
    return entries


def _of_video(name: str, video: Mapping[str, Any], origin: str, videos: VideosBelow) -> list[LabeledPath]:
    clip_id = name.removeprefix("v_")
    path = videos.find((f"v_{clip_id}", clip_id), f"v_{clip_id}.mp4")
    subset = str(video.get("subset", ""))
    split = _SPLITS.get(subset, subset)
    annotations = video.get("annotations", [])
    if not annotations and split == "test":
        return [LabeledPath(path, None, origin, split, clip_id)]
    entries = []
    for number, annotation in enumerate(annotations, start=1):
        at = f"{origin}, annotation {number}"
        start, end, label = _annotation(annotation, at)
        part = VideoPart(path, segment_between(start, end, at))
        entries.append(LabeledPath(part, label, at, split, clip_id))
    return entries


def _annotation(annotation: Any, origin: str) -> tuple[float, float, str]:
    try:
        (start, end), label = annotation["segment"], annotation["label"]
        if not isinstance(label, str) or not label:
            raise TypeError("the label is no text")
        return float(start), float(end), label
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{origin}: must hold a segment of two times in seconds, and a label ({error}). Correct it."
        ) from error
