import csv
import html
import io
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from videonl.errors import UserError
from videonl.visualization.timeline import Segment, Timeline

THRESHOLDS = [0.0, 0.3, 0.5, 0.8, 1.0]


def naive_segments(timeline: Timeline, threshold: float, min_seconds: float) -> list[tuple[float, float, str, float]]:
    """By the words of the rule, and numpy's mean."""
    times = timeline.times
    edges = np.concatenate([[0], times[:-1] + np.diff(times) / 2, [timeline.duration_seconds]])
    found = []
    best, peaks = timeline.probabilities.argmax(1), timeline.probabilities.max(1)
    groups = itertools.groupby(range(len(times)), lambda cell: best[cell] if peaks[cell] >= threshold else -1)
    for index, cells in groups:
        members = list(cells)
        start, end = edges[members[0]], edges[members[-1] + 1]
        if index >= 0 and end - start >= min_seconds:
            found.append((start, end, timeline.class_names[index], peaks[members].mean()))
    return found


@pytest.mark.parametrize("min_seconds", [0.0, 0.4])
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_segments_follow_the_rule(timeline: Timeline, threshold: float, min_seconds: float) -> None:
    expected = naive_segments(timeline, threshold, min_seconds)
    found = timeline.segments(threshold, min_seconds)
    assert [one.label for one in found] == [label for _, _, label, _ in expected]
    numbers = [[one.start, one.end, one.probability] for one in found]
    assert np.abs(np.array(numbers) - [[a, b, p] for a, b, _, p in expected]).max(initial=0) < 1e-10


def test_everything_is_covered_at_threshold_0_and_a_dropped_segment_leaves_a_gap(timeline: Timeline) -> None:
    segments = timeline.segments(0)
    assert segments[0].start == 0 and segments[-1].end == timeline.duration_seconds
    assert all(one.end == other.start for one, other in itertools.pairwise(segments))
    longest = max(one.end - one.start for one in segments)
    assert timeline.segments(0, longest) == [one for one in segments if one.end - one.start == longest]
    for given in ({"threshold": 1.1}, {"threshold": -0.1}, {"min_seconds": -1.0}, {"threshold": float("nan")}):
        with pytest.raises(UserError, match=next(iter(given))):
            timeline.segments(**given)


def test_top_gives_the_classes_of_each_window_in_order(timeline: Timeline) -> None:
    for row, best in zip(timeline.probabilities, timeline.top(3), strict=True):
        assert [probability for _, probability in best] == sorted(row, reverse=True)[:3]
        assert best[0][0] == timeline.class_names[row.argmax()]
    assert len(timeline.top(99)[0]) == len(timeline.class_names)


def test_csv_reads_back_whatever_a_class_is_called(timeline: Timeline, tmp_path: Path) -> None:
    assert timeline.save(tmp_path / "a.CSV", threshold=0.3) == [tmp_path / "a.CSV"]
    with (tmp_path / "a.CSV").open(newline="") as file:
        rows = list(csv.DictReader(file))
    segments = timeline.segments(0.3)
    assert [row["label"] for row in rows] == [one.label for one in segments]
    assert {one.label for one in segments} & set(timeline.class_names[:3])
    for row, one in zip(rows, segments, strict=True):
        assert float(row["start_seconds"]) == pytest.approx(one.start, abs=5e-4)
        assert float(row["end_seconds"]) == pytest.approx(one.end, abs=5e-4)
        assert float(row["probability"]) == pytest.approx(one.probability, abs=5e-5)


def test_json_holds_everything_to_the_bit(timeline: Timeline, tmp_path: Path) -> None:
    timeline.save(tmp_path / "a.json", threshold=0.3, min_seconds=0.2)
    read = json.loads((tmp_path / "a.json").read_text())
    assert np.array_equal([window["probabilities"] for window in read["windows"]], timeline.probabilities)
    assert np.array_equal([window["time"] for window in read["windows"]], timeline.times)
    assert np.array_equal([[window["start"], window["end"]] for window in read["windows"]], timeline.spans)
    assert [Segment(**one) for one in read["segments"]] == timeline.segments(0.3, 0.2)
    assert (read["class_names"], read["duration_seconds"], read["fps"]) == (
        timeline.class_names,
        timeline.duration_seconds,
        timeline.fps,
    )
    assert read["about"] == timeline.about and read["video"] == timeline.video


def test_srt_shows_names_as_they_are_to_ffmpeg(timeline: Timeline, tmp_path: Path) -> None:
    timeline.save(tmp_path / "a.srt", threshold=0.3)
    segments, shown = timeline.segments(0.3), []
    with av.open(str(tmp_path / "a.srt")) as container:
        for packet in container.demux(subtitles=0):
            if packet.size:
                times = packet.pts * packet.time_base, packet.duration * packet.time_base
                shown.append((*times, packet.decode()[0].dialogue.decode()))
    assert len(shown) == len(segments)
    for (start, length, text), one in zip(shown, segments, strict=True):
        assert float(start) == pytest.approx(one.start, abs=1e-3)
        assert float(length) == pytest.approx(one.end - one.start, abs=2e-3)
        expected = f"{' '.join(one.label.split())} ({round(100 * one.probability)} %)"
        assert text.replace("\u2060", "") == expected.replace("{", "(").replace("}", ")")


def test_vtt_reads_back(timeline: Timeline, tmp_path: Path) -> None:
    timeline.save(tmp_path / "a.vtt", threshold=0.3)
    head, *cues = (tmp_path / "a.vtt").read_text().rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    for cue, one in zip(cues, timeline.segments(0.3), strict=True):
        times, text = cue.split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", times)
        assert "<" not in text and ">" not in text  # neither tags nor arrows
        assert html.unescape(text).rpartition(" (")[0] == " ".join(one.label.split())
        seconds = [
            float(minutes) * 60 + float(rest) for _, minutes, rest in (t.split(":") for t in times.split(" --> "))
        ]
        assert seconds == pytest.approx([one.start, one.end], abs=1e-3)


def test_long_videos_have_hours_in_every_format(timeline: Timeline, tmp_path: Path) -> None:
    late = replace(timeline, times=timeline.times + 7261.0625, duration_seconds=7300.0)
    last = late.segments(0)[-1]
    for suffix, stamp in ((".srt", "02:01:40,000"), (".vtt", "02:01:40.000"), (".csv", ",7300.000,")):
        late.save(tmp_path / f"a{suffix}", threshold=0)
        assert stamp in (tmp_path / f"a{suffix}").read_text()
    assert last.end == 7300 and "2:01:40.0" in str(late)


def test_an_unknown_suffix_lists_those_there_are(timeline: Timeline, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.txt: give a name that ends in one of \.html, \.csv, \.json, \.srt, \.vtt"):
        timeline.save(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_shapes_that_do_not_fit_are_refused(timeline: Timeline) -> None:
    with pytest.raises(UserError, match=r"29 windows and 12 classes needs spans \(29, 2\)"):
        replace(timeline, class_names=timeline.class_names[1:])


def test_notebooks_and_terminals_show_it_and_names_stay_text(timeline: Timeline) -> None:
    page = timeline._repr_html_()
    assert "<img" not in page and "&lt;/script&gt;" in page and page.count("<tr>") <= 9
    assert repr(timeline) == f"Timeline({timeline.video!r}: 0:06.2, 29 windows, 13 classes)"
    assert "more" in str(replace(timeline, video="a\x1b[2J.mp4")) or len(timeline.segments()) <= 8
    assert "\x1b" not in str(replace(timeline, video="a\x1b[2J.mp4"))


def test_to_pandas_has_a_row_per_window(timeline: Timeline) -> None:
    pytest.importorskip("pandas", reason="pandas is absent: pip install pandas")
    table = timeline.to_pandas()
    assert list(table.columns) == ["start", "time", "end", *timeline.class_names]
    assert np.array_equal(table.iloc[:, 3:], timeline.probabilities) and np.array_equal(table["time"], timeline.times)


def test_to_pandas_says_that_pandas_is_absent(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        timeline.to_pandas()


def test_carriage_returns_are_quoted(timeline: Timeline, tmp_path: Path) -> None:
    odd = replace(timeline, class_names=["a\rb", *timeline.class_names[1:]])
    odd.save(tmp_path / "a.csv", threshold=0)
    rows = list(csv.reader(io.StringIO((tmp_path / "a.csv").read_bytes().decode(), newline="")))
    assert "a\rb" in [row[2] for row in rows]
