"""Timelines as text: tables, JSON and subtitles."""

import json
import re
from collections.abc import Iterator, Sequence
from html import escape

from videonl.visualization.timeline.formats import decimal, percent, stamp
from videonl.visualization.timeline.segments import Segment
from videonl.visualization.timeline.timeline import Timeline

_NO_BRACES = str.maketrans("{}", "()")
_COLUMNS = "start_seconds,end_seconds,label,probability"


def csv_of(segments: Sequence[Segment]) -> str:
    """A table of one row per segment; times to a millisecond, probabilities to four digits."""
    rows = [
        ",".join((decimal(start, 3), decimal(end, 3), _cell(label), decimal(probability, 4)))
        for start, end, label, probability in segments
    ]
    return "\n".join([_COLUMNS, *rows, ""])


def _cell(text: str) -> str:
    # Not by the module csv, which leaves carriage returns unquoted, so that it cannot read them back.
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


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
    """SubRip subtitles. There are no escapes: tags and arrows get an invisible character, braces become parentheses."""
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
    # A word joiner, which is not seen: "<b>" is bold no more, nor "-->" an arrow. Players hide what is in braces.
    return re.sub("<|--(?=>)", "\\g<0>\u2060", _one_line(label)).translate(_NO_BRACES)


def _escaped(label: str) -> str:
    return escape(_one_line(label), quote=False)


def _one_line(label: str) -> str:
    return " ".join(label.split())
