"""Timelines as files: what a suffix stands for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from videonl.errors import UserError
from videonl.files import whole_file, write_text
from videonl.visualization.timeline import film, page, texts
from videonl.visualization.timeline.timeline import Timeline


class Wanted(NamedTuple):
    """How a timeline is to be written; see :meth:`Timeline.save`."""

    threshold: float
    min_seconds: float
    embed: bool


def write(timeline: Timeline, path: Path, wanted: Wanted) -> list[Path]:
    """Writes a file, and returns what was written; see :meth:`Timeline.save`."""
    check_suffix(path)
    copy = _FORMATS[path.suffix.lower()](timeline, path, wanted)
    return [path] if copy is None else [path, copy]


def check_suffix(path: Path) -> None:
    """Refuses a name that does not say what to write.

    Raises:
        UserError: Listing the suffixes.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UserError(f"cannot write a timeline to {path}: give a name that ends in one of {', '.join(SUFFIXES)}")


def _write_csv(timeline: Timeline, path: Path, wanted: Wanted) -> None:
    write_text(path, texts.csv_of(timeline.segments(wanted.threshold, wanted.min_seconds)))


def _write_json(timeline: Timeline, path: Path, wanted: Wanted) -> None:
    with whole_file(path) as file:
        for part in texts.json_of(timeline, timeline.segments(wanted.threshold, wanted.min_seconds)):
            file.write(part.encode())


def _write_srt(timeline: Timeline, path: Path, wanted: Wanted) -> None:
    write_text(path, texts.srt_of(timeline.segments(wanted.threshold, wanted.min_seconds)))


def _write_vtt(timeline: Timeline, path: Path, wanted: Wanted) -> None:
    write_text(path, texts.vtt_of(timeline.segments(wanted.threshold, wanted.min_seconds)))


def _write_mp4(timeline: Timeline, path: Path, wanted: Wanted) -> None:
    film.write_film(timeline, path, timeline.segments(wanted.threshold, wanted.min_seconds))


def _write_page(timeline: Timeline, path: Path, wanted: Wanted) -> Path | None:
    return page.write_page(timeline, path, wanted.threshold, wanted.min_seconds, wanted.embed)


_FORMATS: Mapping[str, Callable[[Timeline, Path, Wanted], Path | None]] = {
    ".html": _write_page,
    ".csv": _write_csv,
    ".json": _write_json,
    ".srt": _write_srt,
    ".vtt": _write_vtt,
    ".mp4": _write_mp4,
}
SUFFIXES = tuple(_FORMATS)
