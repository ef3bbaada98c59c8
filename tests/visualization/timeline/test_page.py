"""The page in real headless Chromium: what it shows against Python, and everything one can do with it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from videonl.errors import UserError
from videonl.files import write_text
from videonl.visualization.timeline import Timeline
from videonl.visualization.timeline import page as page_module
from videonl.visualization.timeline.page import CURVE_STEP, page_data
from videonl.visualization.timeline.playable import as_it_is


def wait_until(page: Any, expression: str) -> None:
    """Playwright's own waiting evaluates strings inside the page, which the page's policy forbids."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"{expression} has not come true in 10 seconds")


def x_of(page: Any, timeline: Timeline, seconds: float) -> float:
    return seconds / timeline.duration_seconds * page.locator("#scroller").bounding_box()["width"]


def js_segments(page: Any, threshold: float, min_seconds: float) -> list[list[Any]]:
    page.evaluate(f"timeline.set({{threshold: {threshold!r}, minSeconds: {min_seconds!r}}})")
    return page.evaluate("timeline.segments.map((one) => [one.start, one.end, one.label, one.probability])")


def test_the_page_has_the_segments_of_python_to_the_bit(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file)
    assert page.evaluate("timeline.state.threshold") == 0.3
    peaks = np.sort(timeline.probabilities.max(axis=1))
    lengths = sorted(one.end - one.start for one in timeline.segments(0))
    for threshold in (0.0, 0.3, 0.55, float(peaks[9]), float(peaks[20]), 1.0):
        for min_seconds in (0.0, lengths[3], 0.5):
            expected = [list(one) for one in timeline.segments(threshold, min_seconds)]
            assert js_segments(page, threshold, min_seconds) == expected, (threshold, min_seconds)


@pytest.mark.parametrize("kind", ["csv", "srt"])
def test_what_the_page_saves_is_what_python_saves(
    open_page: Any, page_file: Path, timeline: Timeline, tmp_path: Path, kind: str
) -> None:
    page = open_page(page_file)
    page.locator("#threshold").fill("0.45")
    page.locator("#min-seconds").fill("0.1")
    with page.expect_download() as waiting:
        page.locator(f"#{kind}").click()
    assert waiting.value.suggested_filename == f"match.{kind}"
    waiting.value.save_as(tmp_path / "page")
    timeline.save(tmp_path / f"python.{kind}", threshold=0.45, min_seconds=0.1)
    assert timeline.segments(0.45, 0.1)
    assert (tmp_path / "page").read_bytes() == (tmp_path / f"python.{kind}").read_bytes()


def test_click_seeks_the_video_and_the_playhead_follows_it(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file)
    wait_until(page, "timeline.film.hasVideo")
    page.locator("#scroller").click(position={"x": x_of(page, timeline, 4.0), "y": 100})
    wait_until(page, "Math.abs(timeline.film.player.currentTime - 4) < 0.02 && !timeline.film.player.seeking")
    assert page.locator("#moment-time").inner_text() == "0:04.0"
    page.evaluate("document.getElementById('player').currentTime = 2")  # the video's own controls
    wait_until(page, "Math.abs(timeline.film.time - 2) < 0.02")
    head, scroller = (page.locator(name).bounding_box() for name in ("#playhead", "#scroller"))
    assert head["x"] - scroller["x"] == pytest.approx(x_of(page, timeline, 2.0), abs=2)
    label = page.locator("#moment .label").first.inner_text()
    cell = np.searchsorted(timeline.bounds, 2.0, side="right") - 1
    assert label == " ".join(timeline.class_names[timeline.best[cell]].split())
    page.keyboard.press("Space")
    wait_until(page, "timeline.film.time > 2.3 && !timeline.film.player.paused")
    page.keyboard.press("Space")
    wait_until(page, "timeline.film.player.paused")


def test_hover_shows_the_top_classes_of_the_moment(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file)
    assert not page.locator("#tip").is_visible()
    for cell in (0, 11, 28):
        middle = (timeline.bounds[cell] + timeline.bounds[cell + 1]) / 2
        page.locator("#scroller").hover(position={"x": x_of(page, timeline, middle), "y": 90})
        names = [" ".join(text.split()) for text in page.locator("#tip-list .label").all_text_contents()]
        assert names == [" ".join(name.split()) for name, _ in timeline.top(5)[cell]]
        shown = [text.rstrip(" %").lstrip("< ") for text in page.locator("#tip-list .value").all_inner_texts()]
        assert [float(text) for text in shown] == pytest.approx([100 * p for _, p in timeline.top(5)[cell]], abs=0.09)
    page.mouse.move(5, 5)
    assert not page.locator("#tip").is_visible()


def test_filter_legend_and_threshold_change_what_is_shown(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file)
    rows = page.locator("#rows tr")
    assert (
        rows.count() == len(timeline.segments(0.3))
        and page.locator("#count").inner_text() == f"{rows.count()} segments"
    )
    page.keyboard.press("/")
    page.keyboard.type("CLASS 1")
    matching = [one for one in timeline.segments(0.3) if "class 1" in one.label]
    assert 0 < len(matching) == rows.count()
    assert all("class 1" in text for text in page.locator("#rows .label").all_inner_texts())
    page.keyboard.press("Escape")
    assert rows.count() == len(timeline.segments(0.3)) and page.locator("#filter").input_value() == ""
    page.locator("#legend button").first.click()
    pressed = page.locator('#legend [aria-pressed="true"]')
    assert pressed.count() == 1
    first = next(iter(timeline.colors))
    assert {" ".join(text.split()) for text in page.locator("#rows .label").all_text_contents()} == {
        " ".join(first.split())
    }
    page.locator("#clear").click()
    page.keyboard.press("ArrowUp")  # by five percent
    assert page.locator("#threshold-text").inner_text() == "35 %"
    assert rows.count() == len(timeline.segments(0.35))
    page.locator("#threshold").fill("1")
    assert rows.count() == 0 and page.locator("#none").is_visible()


def test_rows_and_keys_seek(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file)
    wait_until(page, "timeline.film.hasVideo")
    second = timeline.segments(0.3)[1]
    page.locator("#rows tr").nth(1).click()
    assert page.evaluate("timeline.film.time") == second.start
    wait_until(page, "!timeline.film.player.seeking")
    page.wait_for_timeout(300)
    assert page.locator("#rows tr[aria-current]").count() == 1
    assert page.locator("#rows tr").nth(1).get_attribute("aria-current") == "true"
    page.locator("#rows button").nth(2).press("Enter")
    assert page.evaluate("timeline.film.time") == timeline.segments(0.3)[2].start
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("[")
    assert page.evaluate("timeline.film.time") == pytest.approx(second.start)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("timeline.film.time") == timeline.times[1]
    said = page.locator("#scroller").get_attribute("aria-valuetext")
    assert said.startswith("0:0") and said.endswith("%")


def test_zoom_keeps_the_moment_and_the_chart_scrolls(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file)
    page.locator("#scroller").click(position={"x": x_of(page, timeline, 3.0), "y": 100})
    before = page.evaluate("timeline.chart.xOf(timeline.film.time)")
    page.keyboard.press("+")
    assert page.evaluate("timeline.chart.zoom") == 2
    assert page.evaluate("timeline.chart.xOf(timeline.film.time)") == pytest.approx(before, abs=1.5)
    page.keyboard.press("End")
    assert 0 <= page.evaluate("timeline.chart.xOf(timeline.film.time)") <= page.evaluate("timeline.chart.width")
    page.keyboard.press("-")
    assert page.evaluate("[timeline.chart.zoom, timeline.chart.scroller.scrollLeft]") == [1, 0]


def test_hostile_names_stay_text(open_page: Any, page_file: Path) -> None:
    page = open_page(page_file)
    assert page.evaluate("window.hacked === undefined")
    assert "</script><img src=x" in " ".join(page.locator("#legend, #rows").all_text_contents())
    assert page.locator("body img").count() == 0


def test_the_stack_has_the_colors_of_its_classes(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file)
    cell = int(np.argmax(timeline.probabilities.max(axis=1)))
    middle = (timeline.bounds[cell] + timeline.bounds[cell + 1]) / 2
    color = timeline.colors[timeline.class_names[timeline.best[cell]]]
    columns = f"timeline.chart.context.getImageData({round(x_of(page, timeline, middle))}, 38, 1, 188).data"
    data = np.array(page.evaluate(f"Array.from({columns})")).reshape(188, 4)[:, :3]
    rgb = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    share = (np.abs(data - rgb).max(axis=1) <= 2).mean()
    assert share == pytest.approx(timeline.probabilities[cell].max(), abs=0.02)


def test_a_phone_shows_everything_in_one_column(open_page: Any, page_file: Path, timeline: Timeline) -> None:
    page = open_page(page_file, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#scroller").tap(position={"x": 200, "y": 80})
    assert page.evaluate("timeline.film.time") > 0 and not page.locator("#tip").is_visible()
    assert page.locator("#rows tr").first.is_visible() and not page.locator("th.end").is_visible()


def test_dark_pages_have_dark_paper_and_readable_text(open_page: Any, page_file: Path) -> None:
    for scheme in ("light", "dark"):
        page = open_page(page_file, color_scheme=scheme)
        for name in ("#about", "#moment .value", "th", "#moment-time", ".seek"):
            assert contrast(page, name) >= 4.5, (scheme, name)


def contrast(page: Any, name: str) -> float:
    """WCAG's ratio of a text's color to the paper or the card that it lies on."""
    ground = "--card" if "moment" in name else "--paper"
    ink = page.locator(name).first.evaluate("(it) => getComputedStyle(it).color.match(/\\d+/g).slice(0, 3).map(Number)")
    paper = page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('{ground}').trim()")
    luminances = []
    for color in (ink, [int(paper[at : at + 2], 16) for at in (1, 3, 5)]):
        linear = [v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in color]
        luminances.append(float(np.dot([0.2126, 0.7152, 0.0722], linear)) + 0.05)
    return max(luminances) / min(luminances)


def test_a_page_without_its_video_lets_one_choose_it(
    browser: Any, timeline: Timeline, video: Path, tmp_path: Path
) -> None:
    lost = shutil.copy(video, tmp_path / "lost.mp4")
    replace(timeline, video=str(lost)).save(tmp_path / "page.html")
    Path(lost).unlink()
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("#no-video").wait_for()
    page.locator("#file").set_input_files(video)
    wait_until(page, "timeline.film.hasVideo")
    assert page.evaluate("Math.round(10 * timeline.film.player.duration)") == 62
    page.close()


def test_decoded_frames_have_a_page_without_a_video(open_page: Any, timeline: Timeline, tmp_path: Path) -> None:
    replace(timeline, video="decoded frames").save(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    assert "without a video" in page.locator("#missing").inner_text()
    page.locator("#rows tr").last.click()
    assert page.evaluate("timeline.film.time") == timeline.segments()[-1].start


def test_an_embedded_video_plays_wherever_the_page_is(
    open_page: Any, timeline: Timeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline.save(tmp_path / "page.html", embed=True)
    page = open_page(tmp_path / "page.html")
    wait_until(page, "timeline.film.hasVideo")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    monkeypatch.setattr(page_module, "MOST_EMBEDDED_BYTES", 1000)
    with pytest.raises(UserError, match="too many to embed"):
        timeline.save(tmp_path / "large.html", embed=True)
    assert not (tmp_path / "large.html").exists()


def write_late(video: Path, path: Path) -> Path:
    """The video half a second behind the sound, which players count from."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        sound = target.add_stream("aac", rate=8000, layout="mono")
        stream = target.add_stream_from_template(source.streams.video[0])
        for number in range(40):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.rate, frame.pts = 8000, 1024 * number
            frame.planes[0].update(bytes(4096))
            target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                shift = round(Fraction(1, 2) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                target.mux(packet)
    return path


@pytest.mark.parametrize("late", [False, True])
def test_the_page_shows_the_frame_that_python_reads_at_a_time(
    open_page: Any, timeline: Timeline, video: Path, tmp_path: Path, late: bool
) -> None:
    shown = write_late(video, tmp_path / "late.mp4") if late else video
    played = as_it_is(shown)
    assert played is not None and played.offset_seconds == pytest.approx(0.5 if late else 0, abs=0.03)
    replace(timeline, video=str(shown)).save(tmp_path / "page.html", embed=True)
    page = open_page(tmp_path / "page.html")
    wait_until(page, "timeline.film.hasVideo")
    for frame in (7, 61, 131):
        page.evaluate(f"timeline.film.seek({(frame + 0.5) / 24})")
        wait_until(page, "!timeline.film.player.seeking && timeline.film.player.readyState >= 2")
        page.wait_for_timeout(100)
        gray = page.evaluate(
            "(() => { const canvas = new OffscreenCanvas(1, 1).getContext('2d');"
            " canvas.drawImage(timeline.film.player, 0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data[0]; })()"
        )
        assert gray == pytest.approx(20 + frame, abs=1.5)


def test_what_browsers_cannot_play_is_copied_beside_the_page(
    open_page: Any, timeline: Timeline, video: Path, tmp_path: Path
) -> None:
    with av.open(str(video)) as source, av.open(str(tmp_path / "a.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    moved = replace(timeline, video=str(tmp_path / "a.mkv"))
    assert moved.save(tmp_path / "a.html") == [tmp_path / "a.html", tmp_path / "a_video.mp4"]
    page = open_page(tmp_path / "a.html")
    wait_until(page, "timeline.film.hasVideo")
    (tmp_path / "a.mkv").rename(tmp_path / "b_video.mp4")  # named as the copy would be
    with pytest.raises(UserError, match="is an input, and would be overwritten"):
        replace(timeline, video=str(tmp_path / "b_video.mp4")).save(tmp_path / "b.html")


def test_an_hour_of_400_classes_is_small_and_quick(open_page: Any, make_timeline: Any, tmp_path: Path) -> None:
    hour = make_timeline("gone.mp4", num_windows=7200, seconds=3600.0)
    random = np.random.default_rng(1)
    probabilities = random.random((7200, 400)) ** 9
    probabilities[np.arange(7200), np.arange(7200) // 11 * 37 % 400] += 40
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    hour = replace(hour, class_names=[f"class {index}" for index in range(400)], probabilities=probabilities)
    hour.save(tmp_path / "hour.html", threshold=0.2)
    assert (tmp_path / "hour.html").stat().st_size < 2e6
    page = open_page(tmp_path / "hour.html")
    assert js_segments(page, 0.5, 1.0) == [list(one) for one in hour.segments(0.5, 1.0)]
    assert page.locator("#rows tr").count() == 200 and page.locator("#more").is_visible()
    assert (
        page.evaluate("(() => { const t = performance.now(); timeline.update(); return performance.now() - t; })()")
        < 5000
    )


def test_curves_hold_the_classes_that_matter_within_their_step(timeline: Timeline) -> None:
    data = page_data(timeline, 0.5, 0.0)
    among = {name for best in timeline.top(5) for name, _ in best}
    assert {timeline.class_names[index] for index in data["curves"]} >= among
    assert data["values"]["shape"] == [len(data["curves"]), len(timeline)]
    assert CURVE_STEP <= 1 / 4096
    json.dumps(data)  # plain data


def test_a_page_that_cannot_be_written_leaves_the_older_one(
    timeline: Timeline, tmp_path: Path, files_at_most: Callable[[int], Any]
) -> None:
    write_text(tmp_path / "page.html", "older")
    with files_at_most(5000), pytest.raises(UserError, match=r"page\.html cannot be written"):
        timeline.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "older" and len(list(tmp_path.iterdir())) == 1
