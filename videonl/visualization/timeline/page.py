"""Writes the page: the video beside what a network says of every moment, in one file that opens from disk."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from videonl.errors import UserError
from videonl.outputs import refuse_inputs
from videonl.temporary import temporary_folder
from videonl.terminal import printable
from videonl.visualization.saving import replacing
from videonl.visualization.timeline.colors import OTHER, PALETTE, by_importance
from videonl.visualization.timeline.playable import Played, as_it_is, is_video, relative_url, write_copy
from videonl.visualization.timeline.timeline import Timeline
from videonl.visualization.web.packing import pack, pack_exactly
from videonl.visualization.web.page import self_contained

NUM_TOP = 5  # classes of a moment that the page has
MOST_CURVES = 100
CURVE_STEP = 1 / 4096
MOST_EMBEDDED_BYTES = 64 * 1024**2
_SCRIPTS = ("formats.js", "segments.js", "moments.js", "chart.js", "film.js", "table.js", "main.js", "controls.js")
_MEDIA = "'self' file: data: blob:"  # data: where it is embedded, blob: where the reader of the page names the file


class _Video(NamedTuple):
    """The video of a page: its address, the time of the first frame there, and the copy that had to be written."""

    url: str | None
    offset_seconds: float = 0.0
    copy: Path | None = None


def write_page(
    timeline: Timeline, path: Path, threshold: float, min_seconds: float, embed: bool = False
) -> Path | None:
    """Writes the page of a timeline.

    The page names the video's file by its place beside the page, so that both can be moved together. Where browsers
    cannot play it, a small copy is written beside the page, ``NAME_video.mp4``.

    Args:
        timeline: What to show. Where its video is no file, the page has no video.
        path: Ends in ``.html``.
        threshold: Of the segments when the page opens.
        min_seconds: Likewise.
        embed: Put the video, or its copy, into the page.

    Returns:
        The copy, where one was written beside the page.

    Raises:
        UserError: The page or the copy cannot be written, or the video is too large to embed.
        DecodingError: The video has to be copied, and cannot be decoded.
    """
    with replacing(path, ".html") as unfinished:
        video = _embedded(timeline) if embed else _beside(timeline, path)
        data = page_data(timeline, threshold, min_seconds) | {
            "url": video.url,
            "offset": video.offset_seconds,
            "stem": printable(path.stem),
        }
        text = self_contained(__package__, _SCRIPTS, f"{data['video']}: timeline", data, _MEDIA)
        unfinished.write_text(text, encoding="utf-8")
    return video.copy


def copy_beside(page: Path) -> Path:
    """Where the copy is written that a page plays, if one is needed."""
    return page.with_name(f"{page.stem}_video.mp4")


def _beside(timeline: Timeline, page: Path) -> _Video:
    video = timeline.video
    if not is_video(video):
        return _Video(None)
    played = as_it_is(video)
    if played is not None:
        return _Video(relative_url(played.path, page), played.offset_seconds)
    copy = copy_beside(page)
    refuse_inputs([copy], [Path(video)])
    played = write_copy(video, copy)
    return _Video(relative_url(copy, page), played.offset_seconds, copy)


def _embedded(timeline: Timeline) -> _Video:
    video = timeline.video
    if not is_video(video):
        return _Video(None)
    with temporary_folder() as folder:
        played = as_it_is(video) or write_copy(video, folder / "copy.mp4")
        return _Video(_data_url(played), played.offset_seconds)


def _data_url(played: Played) -> str:
    if (num_bytes := played.path.stat().st_size) > MOST_EMBEDDED_BYTES:
        raise UserError(
            f"{played.path} has {num_bytes / 1e6:.0f} MB, too many to embed (at most {MOST_EMBEDDED_BYTES / 1e6:.0f}); "
            "leave embed out: the page then plays the file from its place"
        )
    kind = "webm" if played.path.suffix.lower() == ".webm" else "mp4"
    return f"data:video/{kind};base64,{base64.b64encode(played.path.read_bytes()).decode('ascii')}"


def page_data(timeline: Timeline, threshold: float, min_seconds: float) -> dict[str, Any]:
    """What the page knows: the best class of each window exactly, and curves of the classes that matter.

    A class has a curve where it is among the five most probable of some window; of more than 100 such classes those of
    the highest peaks have one. The page sums the rest as "other".
    """
    curves = curves_of(timeline)
    best = np.arange(len(timeline)), timeline.best
    values = torch.from_numpy(timeline.probabilities[:, curves].T)
    return {
        "video": printable(Path(timeline.video).name),
        "about": [f"{name}: {printable(text)}" for name, text in timeline.about.items()],
        "duration": timeline.duration_seconds,
        "threshold": threshold,
        "minSeconds": min_seconds,
        "classNames": list(timeline.class_names),
        "palette": [*PALETTE],
        "other": OTHER,
        "times": pack_exactly(timeline.times[None], "float64"),
        "best": pack_exactly(timeline.best[None], "uint16"),
        "probabilities": pack_exactly(timeline.probabilities[best][None], "float64"),
        "curves": curves.tolist(),
        "values": pack(values, "int16", torch.full((len(curves),), CURVE_STEP)).spec,
    }


def curves_of(timeline: Timeline) -> NDArray[np.int64]:
    """The classes that have a curve, the most important first."""
    num_top = min(NUM_TOP, len(timeline.class_names))
    among_best = np.unique(np.argpartition(-timeline.probabilities, num_top - 1, axis=1)[:, :num_top])
    peaks = timeline.probabilities.max(axis=0)
    order: Sequence[int] = by_importance(timeline.probabilities, timeline.bounds).tolist()
    kept = set(sorted(among_best.tolist(), key=lambda index: -peaks[index])[:MOST_CURVES]) | set(order[: len(PALETTE)])
    return np.array([index for index in order if index in kept])
