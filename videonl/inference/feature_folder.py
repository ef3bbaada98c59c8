"""A folder of features: one file for each video, and what they are features of."""

import csv
import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from videonl.data.reading.segment import as_file_name, whole_of
from videonl.data.reading.video_reader import DecodingError, with_recount
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labels import UNKNOWN
from videonl.data.video import Video
from videonl.errors import UserError
from videonl.evaluation.about import describe_network, digest
from videonl.files import LOCK, locked, write_text
from videonl.inference.feature_files import SUFFIXES, FeatureFormat, save_features
from videonl.inference.features import FeatureOptions, features_of, layer_for
from videonl.inference.layer import Layer
from videonl.inference.recognizer import Recognizer, fingerprint
from videonl.inference.videos import Opener, opening
from videonl.inference.windows import TooShortError
from videonl.names import file_names
from videonl.outputs import check_folder
from videonl.runtime.ranks import ALONE, Ranks
from videonl.terminal import printable

ABOUT = "features.json"
VIDEOS = "videos.csv"
_VERSION = "videonl"  # the one entry that may differ on resuming
Progress: TypeAlias = Callable[[int, int], None]
_log = logging.getLogger(__name__)


class Written(NamedTuple):
    """What became of one video.

    Attributes:
        video: Its path.
        file: The name of its file in the folder; empty where there is none.
        reason: Why there is none.
    """

    video: str
    file: str
    reason: str = ""


def _silent(done: int, total: int) -> None:
    pass


def write_features(
    recognizer: Recognizer,
    entries: Sequence[LabeledPath],
    out: Path,
    options: FeatureOptions,
    about: dict[str, Any],
    kind: FeatureFormat = "npy",
    decoder: str = "auto",
    progress: Progress = _silent,
    time_limit_seconds: float | None = None,
    ranks: Ranks = ALONE,
) -> list[Written]:
    """Writes the features of videos, one file each, named after it; repeat an interrupted call to resume it.

    ``features.json`` in the folder says of which network, layer, clip and windows they are; ``videos.csv``, which is
    written at the end, lists the file of each video, or the error.

    Args:
        recognizer: The network.
        entries: The videos.
        out: The folder. Files that are there are kept, unless their video was changed after they were written.
        options: Which windows, and which features of them.
        about: What ``features.json`` is to say besides, as plain data.
        kind: Format of the files.
        decoder: Who decodes.
        progress: Of several videos is told those done and of all; of a single one, the same of its windows.
        time_limit_seconds: How long opening a video or decoding its next frame may take; see :func:`opening`.
        ranks: The processes that share the videos.

    Returns:
        What became of each video; nothing in processes other than 0.

    Raises:
        UserError: The folder holds features of another network, layer, clip or windows, or cannot be written; there is
            no such layer; or processes are asked for different things.
    """
    check_folder(out)
    layer = layer_for(recognizer, options)
    whole = {**about, "clip": asdict(recognizer.clip), **asdict(options.resolved(recognizer.clip)), "format": kind}
    of_videos = progress if len(entries) > 1 else _silent
    names = file_names([as_file_name(entry.path) for entry in entries])
    ranks.require_same(videos=digest(repr(entries).encode()), options=json.dumps(whole))
    failed: dict[str, str] = {}
    with _holding(out, whole, ranks), opening(decoder, time_limit_seconds) as opened:
        for number in ranks.shared(range(len(entries))):
            entry, path = entries[number], out / f"{names[number]}{SUFFIXES[kind]}"
            of_windows = progress if len(entries) == 1 else _silent
            reason = "" if _is_there(path, entry) else _write(layer, entry, path, options, kind, opened, of_windows)
            if reason:
                failed[str(number)] = reason
            of_videos(ranks.count(), len(entries))
        reports = ranks.reports("failed", failed, lambda: of_videos(ranks.count(0), len(entries)))
        if not ranks.is_first:
            return []
        written = _joined(entries, [f"{name}{SUFFIXES[kind]}" for name in names], reports)
        write_text(out / VIDEOS, _as_csv(written))
    return written


@contextmanager
def _holding(out: Path, whole: dict[str, Any], ranks: Ranks) -> Iterator[None]:
    """Process 0 keeps other commands from the folder, and lets the other processes begin."""
    if not ranks.is_first:
        ranks.begin(out / LOCK)
        yield
        return
    with locked(out / LOCK, f"features are written to {out}"):
        _agree(out / ABOUT, json.loads(json.dumps(whole)))
        ranks.begin(out / LOCK)
        yield


def _joined(
    entries: Sequence[LabeledPath], files: Sequence[str], reports: Sequence[Mapping[str, str]]
) -> list[Written]:
    """What became of each video; each report has the reasons why there is no file, by the video's number."""
    reasons = {number: reason for report in reports for number, reason in report.items()}
    return [
        Written(str(entry.path), "" if str(number) in reasons else file, reasons.get(str(number), ""))
        for number, (entry, file) in enumerate(zip(entries, files, strict=True))
    ]


def _is_there(path: Path, entry: LabeledPath) -> bool:
    """Whether the features of a video are written, and the video is not newer; the age of a URL is not asked."""
    try:
        written = path.stat().st_mtime_ns
        video = whole_of(entry.path)
        return not isinstance(video, Path) or video.stat().st_mtime_ns <= written
    except FileNotFoundError:
        return path.is_file()  # a video that is gone may have its features


def _write(
    layer: Layer,
    entry: LabeledPath,
    path: Path,
    options: FeatureOptions,
    kind: FeatureFormat,
    opened: Opener,
    progress: Progress,
) -> str:
    """Writes the features of one video; returns why that cannot be done, or nothing."""
    if entry.unreadable:
        return entry.unreadable
    try:
        known = Video(entry.path, UNKNOWN, entry.frame_table).known_frames()
        with opened(entry.path, known) as reader:
            features = with_recount(
                lambda: features_of(layer.recognizer, reader, options, progress=progress, layer=layer)
            )
    except (DecodingError, TooShortError) as error:
        _log.warning("skipped %s", error)
        return str(error)
    save_features(features, path, kind)
    return ""


def _agree(path: Path, about: dict[str, Any]) -> None:
    """Writes what the features of a folder are, or compares it with what is there.

    Raises:
        UserError: They are others.
    """
    if path.is_file():
        try:
            there = json.loads(path.read_bytes())
            differing = [name for name in sorted({*there, *about} - {_VERSION}) if there.get(name) != about.get(name)]
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error}); give another --out, or remove the folder") from error
        if differing:
            name = differing[0]
            raise UserError(
                f"{path.parent} holds features of another {name}: {there.get(name)!r}, and {about.get(name)!r} is "
                "asked for. Give another --out, or remove the folder"
            )
        return
    write_text(path, json.dumps(about, indent=1) + "\n")


def _as_csv(written: Sequence[Written]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Written._fields)
    rows.writerows([printable(value) for value in each] for each in written)
    return text.getvalue()


def about_network(recognizer: Recognizer, source: str) -> dict[str, Any]:
    """What tells a network from others: its parts, and the SHA-256 of its file, or of its weights where it has none."""
    digest = hashlib.sha256()
    if Path(source).is_file():
        with Path(source).open("rb") as file:
            for block in iter(lambda: file.read(2**20), b""):
                digest.update(block)
    told = digest.hexdigest() if Path(source).is_file() else fingerprint(recognizer)
    return {"weights": source, "weights_sha256": told, "network": describe_network(recognizer.network)}
