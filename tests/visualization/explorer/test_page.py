"""The explorer in real headless Chromium: what it shows against the arrays, and everything one can do with it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from videonl.errors import UserError
from videonl.visualization import AttentionMap, EvidenceMap, ShownClip, overlay
from videonl.visualization.attention import maps_of
from videonl.visualization.explorer import Source, write_explorer
from videonl.visualization.explorer.weights import TOLERANCE
from videonl.visualization.grid import Position

QUERIES: list[Position] = [(0, 0, 0), (3, 20, 33), (6, 43, 59), (5, 9, 2)]


def expected_maps(source: Source, query: Position) -> dict[str, AttentionMap]:
    maps = maps_of(source.seen, source.blocks, [query])
    return {name: attention for name, (attention,) in maps.items()}


def picture_of(page: Any, frame: int, strip: int = 0) -> Any:
    return page.locator(".strip").nth(strip).locator(".picture").nth(frame)


def click(page: Any, query: Position, size: Position, strip: int = 0) -> None:
    """Clicks into the middle of a pixel of a frame of the strip."""
    frame, y, x = query
    box = picture_of(page, frame, strip).bounding_box()
    place = {"x": (x + 0.5) / size[2] * box["width"], "y": (y + 0.5) / size[1] * box["height"]}
    picture_of(page, frame, strip).click(position=place)


def shown_weights(page: Any, panel: int = 0) -> NDArray[np.float64]:
    return np.array(page.evaluate(f"Array.from(explorer.panels[{panel}].weights)"))


def state(page: Any) -> dict[str, Any]:
    return dict(page.evaluate("explorer.state"))


def wait_until(page: Any, expression: str) -> None:
    """Playwright's own waiting evaluates strings inside the page, which the page's policy forbids."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"{expression} has not come true in 5 seconds")


def test_every_block_shows_the_weights_of_the_clicked_position(open_page, page_file, clip, sources) -> None:
    page = open_page(page_file)
    forms = page.evaluate("explorer.clip.blocks.map((block) => block.weights.form)")
    assert set(forms) == {"table", "product", "hops"}
    for query in QUERIES:
        maps = expected_maps(sources[0], query)
        for name, attention in maps.items():
            page.get_by_role("button", name=name, exact=True).click()
            click(page, query, clip.size)
            assert state(page)["query"] == list(query)
            expected = attention.weights.flatten().numpy()
            shown = shown_weights(page)
            assert shown.shape == expected.shape
            assert np.abs(shown - expected).max() <= TOLERANCE * np.abs(expected).max(), (name, query)


def test_canvases_lie_over_the_frames_as_the_overlay_does(open_page, page_file, clip, sources) -> None:
    page = open_page(page_file)
    query = QUERIES[1]
    for name in ("softmax", "fusion", "pyramid", "time"):
        page.get_by_role("button", name=name, exact=True).click()
        click(page, query, clip.size)
        expected = overlay(clip.frames, expected_maps(sources[0], query)[name]).numpy().astype(float)
        for frame in range(clip.size[0]):
            rgba = (
                picture_of(page, frame)
                .locator("canvas")
                .evaluate("(it) => Array.from(it.getContext('2d').getImageData(0, 0, it.width, it.height).data)")
            )
            colors = np.array(rgba, dtype=float).reshape(*clip.size[1:], 4)
            alpha = colors[..., 3:] / 255
            shown = clip.frames[frame].numpy() * (1 - alpha) + colors[..., :3] * alpha
            # A weight off by the tolerance is 2.55 steps of the color table, and a step is at most 3 of 255.
            assert np.abs(shown - expected[frame]).max() <= 8, (name, frame)


def test_the_list_and_the_color_bar_give_the_numbers(open_page, page_file, clip, sources) -> None:
    page = open_page(page_file)
    page.get_by_role("button", name="softmax", exact=True).click()
    click(page, QUERIES[1], clip.size)
    weights = expected_maps(sources[0], QUERIES[1])["softmax"].weights.flatten().sort(descending=True).values
    told = [float(text) for text in page.locator(".strongest .value").all_inner_texts()]
    assert told == pytest.approx(weights[: len(told)].tolist(), rel=0.02)
    assert float(page.locator(".ticks .most").inner_text()) == pytest.approx(float(weights[0]), rel=0.02)


def test_links_lead_from_the_query_to_the_strongest_keys(open_page, page_file, clip) -> None:
    page = open_page(page_file)
    page.get_by_role("button", name="softmax", exact=True).click()
    click(page, (1, 20, 10), clip.size)
    lines = page.locator(".lines .line")
    assert 0 < lines.count() <= 8
    origin = page.locator(".lines").bounding_box()
    ends = [[float(part) for part in path.get_attribute("d")[1:].split()[0].split(",")] for path in lines.all()]
    box = picture_of(page, 1).bounding_box()  # the cell of frames 0 and 1 has its middle in frame 1
    for x, y in ends:
        assert box["x"] <= x + origin["x"] <= box["x"] + box["width"]
        assert box["y"] <= y + origin["y"] <= box["y"] + box["height"]
    targets = page.evaluate("explorer.panels[0].targets")
    weights = shown_weights(page)
    assert [target["weight"] for target in targets] == pytest.approx(sorted(weights, reverse=True)[: len(targets)])
    page.locator("#links").fill("3")
    assert lines.count() <= 3
    page.locator("#links").fill("0")
    assert lines.count() == 0


def test_the_pointer_asks_until_a_click_keeps_the_query(open_page, page_file, clip) -> None:
    page = open_page(page_file)
    picture_of(page, 2).hover(position={"x": 5, "y": 5})
    hovered = state(page)
    assert hovered["query"][0] == 2 and not hovered["kept"]
    click(page, (4, 30, 30), clip.size)
    assert state(page)["kept"] and state(page)["time"] == 4
    picture_of(page, 1).hover(position={"x": 5, "y": 5})
    assert state(page)["query"] == [4, 30, 30]
    assert page.locator("#pointer-text").inner_text().startswith("under the pointer: ")
    page.keyboard.press("Escape")
    picture_of(page, 1).hover(position={"x": 9, "y": 9})
    assert state(page)["query"][0] == 1


def test_weight_under_the_pointer(open_page, page_file, clip, sources) -> None:
    page = open_page(page_file)
    page.get_by_role("button", name="gaussian", exact=True).click()
    click(page, (3, 20, 33), clip.size)
    box = picture_of(page, 0).bounding_box()
    picture_of(page, 0).hover(position={"x": 18.5 / 60 * box["width"], "y": 2.5 / 44 * box["height"]})
    expected = expected_maps(sources[0], (3, 20, 33))["gaussian"].weights[0, 0, 4]
    told = float(page.locator("#pointer-text").inner_text().rpartition(": ")[2])
    assert told == pytest.approx(float(expected), rel=0.02, abs=1e-6)


def test_keyboard(open_page, page_file, clip) -> None:
    page = open_page(page_file)
    click(page, (3, 20, 33), clip.size)
    grid = page.evaluate("explorer.panels[0].block.grid")
    assert grid == [3, 11, 15]

    def cell() -> list[int]:
        return list(
            page.evaluate(
                "(({query}) => explorer.panels[0].block.cellOfPixel.map((l, a) => l[query[a]]))(explorer.state)"
            )
        )

    assert cell() == [1, 5, 8]
    for key, moved in {
        "ArrowRight": [1, 5, 9],
        "ArrowDown": [1, 6, 9],
        "ArrowLeft": [1, 6, 8],
        "ArrowUp": [1, 5, 8],
        ".": [2, 5, 8],
        ",": [1, 5, 8],
    }.items():
        page.keyboard.press(key)
        assert cell() == moved, key
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert cell() == [1, 5, 0]  # the grid ends
    page.keyboard.press("]")
    assert state(page)["shown"] == [1]
    page.keyboard.press("[")
    page.keyboard.press("[")
    assert state(page)["shown"] == [12]
    page.keyboard.press("4")
    assert state(page)["shown"] == [3]
    page.keyboard.press("-")
    assert state(page)["strength"] == pytest.approx(0.9)
    page.keyboard.press("l")
    assert state(page)["links"] == 0
    page.keyboard.press("c")
    assert len(state(page)["shown"]) == 2
    page.keyboard.press("a")
    assert state(page)["query"] == page.evaluate("explorer.panels[0].block.mostChanged")


def test_arrows_on_a_slider_move_the_slider(open_page, page_file) -> None:
    page = open_page(page_file)
    before = state(page)
    page.locator("#time").focus()
    page.keyboard.press("ArrowRight")
    assert state(page)["time"] == before["time"] + 1
    assert state(page)["query"] == before["query"]


def test_the_clip_plays_and_pauses(open_page, page_file) -> None:
    page = open_page(page_file)
    start = state(page)["time"]
    page.keyboard.press("Space")
    wait_until(page, f"explorer.state.time !== {start}")
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    page.locator("#play").click()
    held = state(page)["time"]
    page.wait_for_timeout(600)
    assert state(page)["time"] == held
    source = page.locator(".stage img").get_attribute("src")
    assert source == page.evaluate(f"explorer.clip.frames[{held}]")


def test_two_blocks_side_by_side(open_page, page_file, clip, sources) -> None:
    page = open_page(page_file)
    page.locator("#compare").click()
    page.locator(".stage").nth(1).get_by_role("button", name="axial", exact=True).click()
    click(page, QUERIES[1], clip.size, strip=1)
    maps = expected_maps(sources[0], QUERIES[1])
    for panel, name in enumerate(("softmax", "axial")):
        expected = maps[name].weights.flatten().numpy()
        assert np.abs(shown_weights(page, panel) - expected).max() <= TOLERANCE * expected.max()
    page.locator("#compare").click()
    assert page.locator(".stage").count() == page.locator(".strip").count() == 1


def test_two_networks_side_by_side(open_page, compared_file, clip, sources) -> None:
    page = open_page(compared_file)
    click(page, QUERIES[1], clip.size)
    for panel, source in enumerate(sources):
        expected = expected_maps(source, QUERIES[1])["softmax"].weights.flatten().numpy()
        assert np.abs(shown_weights(page, panel) - expected).max() <= TOLERANCE * expected.max()
    assert page.locator(".strip h2").all_inner_texts() == ["softmax of first", "softmax of second <i>"]


def test_blocks_that_need_a_word_have_one(open_page, page_file) -> None:
    page = open_page(page_file)
    notes = {}
    for name in ("softmax", "context", "dot product"):
        page.get_by_role("button", name=name, exact=True).click()
        notes[name] = page.locator(".note").inner_text()
    assert notes["softmax"] == ""
    assert "the same positions for every query" in notes["context"]
    assert "below 0" in notes["dot product"]


@pytest.fixture(scope="session")
def evidence() -> EvidenceMap:
    values = torch.full((2, 4, 3), -0.125)
    values[1, 2, 0] = 0.75
    return EvidenceMap("<i>hug</i>", 4, 0.5, "res5.2", values)


@pytest.fixture(scope="session")
def evidence_file(tmp_path_factory: pytest.TempPathFactory, clip, sources, evidence) -> Path:
    path = tmp_path_factory.mktemp("explorer") / "evidence.html"
    write_explorer(clip, [replace(sources[0], evidence=[evidence])], path, query=(3, 20, 33))
    return path


def test_attention_opens_beside_the_evidence(open_page, evidence_file, clip, sources, evidence) -> None:
    page = open_page(evidence_file)
    assert page.locator(".strip h2").all_inner_texts() == ["softmax", "evidence for <i>hug</i>"]
    assert page.locator(".bar-name").all_inner_texts() == ["weight", "evidence"]
    for query in QUERIES:  # whoever asks, the evidence is the same
        click(page, query, clip.size, strip=1)
        expected = expected_maps(sources[0], query)["softmax"].weights.flatten().numpy()
        assert np.abs(shown_weights(page, 0) - expected).max() <= TOLERANCE * expected.max()
        assert np.abs(shown_weights(page, 1) - evidence.values.flatten().numpy()).max() <= TOLERANCE * 0.75
    assert page.locator(".strip").nth(0).locator(".line").count() > 0
    assert page.locator(".strip").nth(1).locator(".line").count() == 0  # nobody reads evidence
    note = page.locator(".note").nth(1).inner_text()
    assert "Grad-CAM at res5.2" in note and "the same for every query" in note and "against the class" in note
    (least,) = [item for item in page.locator(".strongest").all() if "evidence" in item.inner_text()]
    assert float(least.locator(".value").first.inner_text()) == pytest.approx(0.75, rel=0.01)
    assert page.locator("h2 i").count() == 0


def test_evidence_of_a_network_without_blocks(open_page, tmp_path: Path, clip, sources, evidence) -> None:
    write_explorer(clip, [replace(sources[0], blocks={}, evidence=[evidence])], tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    assert page.locator(".stage").count() == 1 and not page.locator("#compare").is_visible()
    frame, y, x = state(page)["query"]  # the strongest place
    assert frame in range(4, 7) and y in range(22, 33) and x in range(20)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("l")
    with pytest.raises(UserError, match="no attention blocks"):
        write_explorer(clip, [replace(sources[0], blocks={})], tmp_path / "other.html")


def test_names_are_text_and_nothing_else(open_page, compared_file, clip) -> None:
    page = open_page(compared_file)
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("#video").inner_text() == clip.name
    assert page.title() == f"{clip.name}: attention"
    assert "second <i> calls it <u>run</u>" in page.locator("#about").inner_text()
    assert page.locator("header u, header img, .blocks b, .blocks i").count() == 0
    assert page.get_by_role("button", name="<b>table</b>", exact=True).count() == 4  # of two networks in two panels


def test_nothing_is_loaded_but_the_file(browser, page_file) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("body[data-ready]")
    context.close()
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]


def test_the_policy_stops_requests_and_code_that_is_not_the_page(browser, page_file) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    refused = page.evaluate(
        """async () => {
          const refused = [];
          addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
          await fetch('https://example.org').catch(() => null);
          const script = document.createElement('script');
          script.textContent = 'hacked = 1';
          document.body.append(script);
          await new Promise((done) => setTimeout(done, 50));
          return [refused, typeof hacked];
        }"""
    )
    context.close()
    assert refused == [["connect-src", "script-src-elem"], "undefined"]


def test_phone(open_page, page_file, clip) -> None:
    page = open_page(page_file, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    picture_of(page, 5).tap(position={"x": 30, "y": 30})
    assert state(page)["query"][0] == 5
    assert page.locator(".with-touch").is_visible() and not page.locator(".with-mouse").is_visible()
    tops = {round(picture_of(page, frame).bounding_box()["y"]) for frame in range(clip.size[0])}
    assert len(tops) == 2  # rows of four
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll('p, button, label')]
           .map((element) => parseFloat(getComputedStyle(element).fontSize)))"""
    )
    assert smallest >= 12


def test_motion_is_reduced_where_it_is_asked_for(open_page, page_file) -> None:
    page = open_page(page_file, reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
    start = state(page)["time"]
    page.wait_for_timeout(600)
    assert state(page)["time"] == start


def test_controls_have_names_for_screen_readers(open_page, page_file) -> None:
    page = open_page(page_file)
    unnamed = page.evaluate(
        """[...document.querySelectorAll('#main button, #main input, #main [role=application]')]
           .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("[aria-live=polite]").inner_text().startswith("frame 3")


def test_the_first_query_is_the_one_given_or_the_most_changed(open_page, page_file, compared_file) -> None:
    assert state(open_page(page_file))["query"] == [3, 20, 33]
    page = open_page(compared_file)
    assert state(page)["query"] == page.evaluate("explorer.clip.blocks[0].mostChanged")


def test_an_answer_is_timed_through_its_paint(open_page, page_file, clip) -> None:
    page = open_page(page_file)
    page.evaluate("explorer.lastResponseMs = null")
    click(page, (1, 2, 3), clip.size)
    wait_until(page, "explorer.lastResponseMs !== null")
    assert 0 < page.evaluate("explorer.lastResponseMs") < 5000
    assert "Last answer" in page.locator("#facts").inner_text()


def test_what_was_written_is_reported(tmp_path: Path, clip: ShownClip, sources: list[Source]) -> None:
    written = write_explorer(clip, sources, tmp_path / "page.html")
    assert [block.name for block in written[:2]] == ["softmax of first", "gaussian of first"]
    assert len(written) == 2 * len(sources[0].blocks)
    assert all(block.error <= TOLERANCE for block in written)
    text = (tmp_path / "page.html").read_text()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [len(json.dumps(block["weights"])) for block in data["blocks"]] == [block.num_bytes for block in written]


def test_bad_requests_leave_no_file(tmp_path: Path, clip: ShownClip, sources: list[Source]) -> None:
    with pytest.raises(UserError, match="outside the clip"):
        write_explorer(clip, sources, tmp_path / "page.html", query=(7, 0, 0))
    with pytest.raises(UserError, match=r"page\.png.*\.html"):
        write_explorer(clip, sources[:1], tmp_path / "page.png")
    assert list(tmp_path.iterdir()) == []
