"""Timelines as text: tables, JSON and subtitles."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from html import escape

from videonl.visualization.timeline.formats import decimal, percent, stamp
from videonl.visualization.timeline.segments import Segment
from videonl.visualization.timeline.timeline import Timeline

_COLUMNS = ("start_seconds", "end_seconds", "label", "probability")


def csv_of(segments: Sequence[Segment]) -> str:
    """A table of one row per segment; times to a millisecond, probabilities to four digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for start, end, label, probability in segments:
        writer.writerow([decimal(start, 3), decimal(end, 3), label, decimal(probability, 4)])
    return text.getvalue()


def json_of(timeline: Timeline, segments: Sequence[Segment]) -> Iterator[str]:
    """Everything, in parts: of a long video it is large. Numbers are written so that reading gives the same ones."""
    head = {
        "video": timeline.video,
        "duration_seconds": timeline.duration_seconds,
        "fps": timeline.fps,
        "about": dict(timeline.about),
        "class_names": list(timeline.class_names),
        "segments": [segment._asdict() for segment in segments],
    }
    yield json.dumps(head, indent=1)[:-2] + ',\n "windows": [\n'
    for number, (start, end) in enumerate(timeline.spans.tolist()):
        window = {"start": start, "time": float(timeline.times[number]), "end": end}
        window["probabilities"] = timeline.probabilities[number].tolist()
        yield ("" if number == 0 else ",\n") + "  " + json.dumps(window)
    yield "\n ]\n}\n"


def srt_of(segments: Sequence[Segment]) -> str:
    """SubRip subtitles. The format has no escapes: what would be a tag or an arrow gets an invisible character."""
    cues = [
        f"{number}\n{stamp(start, ',')} --> {stamp(end, ',')}\n{_no_tags(label)} ({percent(probability)})\n\n"
        for number, (start, end, label, probability) in enumerate(segments, start=1)
    ]
    return "".join(cues)


def vtt_of(segments: Sequence[Segment]) -> str:
    """WebVTT subtitles."""
    cues = [
        f"{stamp(start, '.')} --> {stamp(end, '.')}\n{_escaped(label)} ({percent(probability)})\n\n"
        for start, end, label, probability in segments
    ]
    return "WEBVTT\n\n" + "".join(cues)


def _no_tags(label: str) -> str:
    # A word joiner, which is not seen: "<b>" is bold no more, nor "-->" an arrow.
    return re.sub(r"([<{])|(?<=--)(?=>)", "\\g<0>\u2060", _one_line(label))


def _escaped(label: str) -> str:
    return escape(_one_line(label), quote=False)


def _one_line(label: str) -> str:
    return " ".join(label.split())
