"""The page is complete in itself, says what the record says, and a browser shows it."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from videonl.evaluation import EvaluationRecord, VideoScore, accuracies, compare, stack
from videonl.evaluation.page import comparison_page, evaluation_page, worst_mistakes


class Elements(HTMLParser):
    """Collects tags, what they refer to, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def everything_right(record: EvaluationRecord) -> EvaluationRecord:
    scores = [
        replace(score, logits=score.logits.index_fill(1, score.logits.new_tensor([score.label]).long(), 50.0))
        for score in record.scores
    ]
    return replace(record, scores=scores, unreadable={})


def test_page_says_what_the_record_says(record: EvaluationRecord) -> None:
    text = Elements(evaluation_page(record)).text
    for value in accuracies(*stack(record.scores)).values():
        assert f"{100 * value:.1f} %" in text
    for words in (
        "31 videos, 7 classes, 3 clips x 2 crops of 5 px",
        "best.ckpt",
        "1 video could not be read",
        "bad.mp4",
    ):
        assert words in text
    assert all(name in text for name in record.class_names)


@pytest.mark.parametrize("make", [evaluation_page, lambda record: comparison_page(compare(record, record), "a", "b")])
def test_page_needs_nothing_else(record: EvaluationRecord, make: Callable[[EvaluationRecord], str]) -> None:
    page = make(record)
    found = Elements(page)
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert all(reference.startswith("data:image/") for reference in found.references)
    assert not re.search(r"url\(|@import", page)


def test_mistakes_come_with_the_surest_first_and_frames(record: EvaluationRecord, video_folder: Path) -> None:
    mistakes = worst_mistakes(record.scores)
    confidences = [float(score.probabilities.max()) for score in mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert all(score.prediction != score.label for score in mistakes)
    video = str(next(video_folder.glob("*/*.mp4")))
    scores = [replace(score, path=video) if score is mistakes[0] else score for score in record.scores]
    shown = evaluation_page(replace(record, scores=scores), num_mistakes=3)
    assert shown.count('<article class="card">') == 3
    assert shown.count("data:image/jpeg;base64,") == 1
    assert shown.count("the video cannot be read here") == 2
    assert shown.index(video) < shown.index(mistakes[1].path)
    assert f"{len(mistakes)} of 31 videos are misclassified; the 3 with the highest confidence" in shown


def test_where_all_is_right_the_page_says_so(record: EvaluationRecord) -> None:
    text = Elements(evaluation_page(everything_right(record))).text
    assert "None: every video is classified correctly." in text
    assert "could not be read" not in text


@pytest.mark.parametrize("num_views", [1, 2])
def test_one_video_one_class_one_view_make_a_page(make_score: Callable[..., VideoScore], num_views: int) -> None:
    record = EvaluationRecord(["wave", "clap"], [make_score(0, 1, num_views * [[1.0, 2.0]])])
    text = Elements(evaluation_page(record)).text
    assert "Only 1 video:" in text
    assert ("Accuracy by number of views" in text) is (num_views > 1)


def test_names_and_paths_are_escaped(record: EvaluationRecord) -> None:
    evil = "<script>alert('x')</script>&$"
    names = [f"{evil}{index}" for index in range(7)]
    scores = [replace(score, path=f"{evil}{score.path}") for score in record.scores]
    poisoned = EvaluationRecord(names, scores, {"views": evil}, {evil: evil})
    for page in (evaluation_page(poisoned), comparison_page(compare(poisoned, everything_right(poisoned)), evil, evil)):
        found = Elements(page)
        assert "script" not in found.tags
        assert evil in found.text


def test_a_long_name_is_shortened_where_it_is_shown_and_whole_on_hovering(record: EvaluationRecord) -> None:
    names = [f"{index}{'x' * 3000}{index}" for index in range(7)]
    long = replace(record, class_names=names)
    for page in (evaluation_page(long), comparison_page(compare(long, everything_right(long)), "a", "b")):
        assert names[0] in page and not any(name in Elements(page).text for name in names)
        assert f"0{'x' * 49}…{'x' * 48}0" in Elements(page).text


def test_comparison_names_what_changed(record: EvaluationRecord) -> None:
    comparison = compare(record, everything_right(record))
    found = Elements(comparison_page(comparison, "before.parquet", "after.parquet", num_videos=2))
    difference = comparison.metrics["top1"].difference
    for words in ("before.parquet", "after.parquet", f"+{100 * difference:.1f}", comparison.verdict, "Videos fixed"):
        assert words in found.text
    assert found.tags.count("article") == 2


@pytest.mark.parametrize("width_px", [1200, 390])
def test_a_browser_shows_every_picture_and_nothing_runs_over_the_side(
    browser: Any, record: EvaluationRecord, tmp_path: Path, video_folder: Path, width_px: int
) -> None:
    videos = [str(path) for path in sorted(video_folder.glob("*/*.mp4"))]
    scores = [replace(score, path=f"{videos[0]}") if score.video % 2 else score for score in record.scores]
    long_names = [*(f"a class whose name is rather long {index}" for index in range(6)), "x" * 3000]
    pages = {
        "evaluation": evaluation_page(EvaluationRecord(long_names, scores, record.about, record.unreadable)),
        "comparison": comparison_page(compare(record, everything_right(record)), "x/" * 97, "b"),
    }
    for name, content in pages.items():
        (tmp_path / f"{name}.html").write_text(content, encoding="utf-8")
        page = browser.new_page(viewport={"width": width_px, "height": 844})
        wrong: list[str] = []
        page.on("console", lambda message, wrong=wrong: wrong.append(message.text))
        page.on("request", lambda asked, wrong=wrong: wrong.append(asked.url) if asked.url[:4] == "http" else None)
        page.goto((tmp_path / f"{name}.html").as_uri())
        assert wrong == []
        pictures = page.evaluate(
            "[...document.images].map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().right])"
        )
        assert len(pictures) >= (3 if name == "evaluation" else 0)
        assert all(complete and width > 0 and right <= width_px for complete, width, right in pictures)
        assert page.evaluate("document.documentElement.scrollWidth") <= width_px
        page.close()
