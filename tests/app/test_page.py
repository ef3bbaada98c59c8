"""The page of ``videonl app`` in a browser, with a real upload."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import videonl
from tests.small_weights import CLASS_NAMES
from videonl.app.answers import Answers, explained
from videonl.app.sheet import Sheet, lit, plain
from videonl.cli import app as command
from videonl.errors import UserError

NEEDS_GRADIO = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="Gradio is absent: pip install 'videonl[app]'"
)
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from videonl.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def clip(encode_video: Callable[..., Path], tmp_path: Path) -> Path:
    return encode_video(tmp_path / "clip.mp4", num_frames=31)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def address(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a process serves the page, which Ctrl-C ends."""
    port, temporary = free_port(), tmp_path_factory.mktemp("gradio")
    words = ["app", "--checkpoint", str(weights), "--port", str(port), "--device", "cpu"]
    served = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(temporary)},
    )
    try:
        assert served.stdout is not None
        said = []
        for line in served.stdout:
            said.append(line)
            if "in a browser" in line:
                break
        assert f"open http://127.0.0.1:{port}/ in a browser; Ctrl-C ends it" in said[-1], said
        yield f"http://127.0.0.1:{port}/"
        served.send_signal(signal.SIGINT)
        rest, _ = served.communicate(timeout=120)
        assert served.returncode == 130, rest
        assert "Traceback" not in rest
        assert rest.endswith("videonl: interrupted\n")
    finally:
        served.kill()
        served.wait()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1100, "height": 1600})
    opened.set_default_timeout(90_000)
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    yield opened
    opened.close()
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not elsewhere  # nothing is fetched from, or told to, anybody else


def image_of(page: Any, selector: str) -> bytes:
    """The picture that an element shows, once it shows one."""
    source = page.locator(f"{selector} img").first
    source.wait_for()
    with urllib.request.urlopen(source.get_attribute("src")) as answer:
        content: bytes = answer.read()
    return content


@NEEDS_GRADIO
def test_a_clip_is_uploaded_and_asked(page: Any, clip: Path, weights: Path) -> None:
    prediction = videonl.load(weights, device="cpu").predict(clip, num_clips=3, num_crops=1)
    page.locator("#video input[type=file]").first.set_input_files(str(clip))
    page.locator("#classes", has_text=prediction.label).wait_for()
    shown = page.locator("#classes").inner_text()
    assert all(name in shown for name in CLASS_NAMES)
    page.locator("#timeline img").wait_for()
    assert image_of(page, "#evidence").startswith(b"\x89PNG")
    assert page.locator("#class input").input_value() == prediction.label
    before, shown_at = image_of(page, "#evidence"), page.locator("#evidence img").get_attribute("src")
    page.locator("#class input").click()
    other = next(name for name in CLASS_NAMES if name != prediction.label)
    page.get_by_role("option", name=other).click()
    # Asked before the click: afterwards it may have changed already.
    page.wait_for_function("source => document.querySelector('#evidence img').src != source", arg=shown_at)
    assert image_of(page, "#evidence") != before
    frames = page.locator("#frames img").first
    box = frames.bounding_box()
    frames.click(position={"x": box["width"] * 1.5 / 5, "y": box["height"] / 2})
    page.get_by_text("res3.3: attention of frame 1, ").first.wait_for()
    assert image_of(page, "#attention").startswith(b"\x89PNG")


@NEEDS_GRADIO
def test_what_is_no_video_is_explained(page: Any, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video " * 99)
    page.locator("#video input[type=file]").first.set_input_files(str(tmp_path / "text.mp4"))
    page.get_by_text("text.mp4: cannot be decoded").first.wait_for()


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())  # it is not reached
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"cannot serve at 127\.0\.0\.1:{port} \(Address already in use\)"):
            command.app(Path("no.ckpt"), port=port)


def test_without_gradio_one_line_says_what_to_install(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^the page needs Gradio: pip install 'videonl\[app\]'$"):
        command.app(weights)
    with pytest.raises(UserError, match="--port must be at most 65,535"):
        command.app(weights, port=70_000)


def test_answers(weights: Path, clip: Path) -> None:
    model = videonl.load(weights, device="cpu")
    answers = Answers(model, num_clips=3)
    classes, best = answers.classes(str(clip))
    assert list(classes) == sorted(CLASS_NAMES, key=lambda name: -classes[name])
    assert (best, sum(classes.values())) == (next(iter(classes)), pytest.approx(1))
    axes = answers.timeline(str(clip)).axes[0]
    assert axes.lines[0].get_label() in CLASS_NAMES
    assert axes.lines[0].get_xdata()[0] == pytest.approx(4.5 / 24)  # the middle of the first window of 9 frames
    sheet = Sheet((5, 31, 31))
    assert sheet.scale == 4  # 31 pixels become 124, which is 96 or more
    x, y = 2 * (124 + 4) + 4 * 7, 4 * 11
    assert sheet.position(x, y) == (2, 11, 7)
    ((picture, caption),) = answers.attention(str(clip), x, y)
    assert caption == "res3.3: attention of frame 2, y 11, x 7"
    maps = model.attention(clip, (2, 11, 7))
    assert picture.tobytes() == lit(maps.clip, maps["res3.3"]).tobytes()
    assert picture.size == answers.frames(str(clip)).size == (5 * 128 - 4, 124)
    with pytest.raises(UserError, match="click on a frame"):
        answers.attention(str(clip), 125, 0)


def test_pictures_put_frames_where_clicks_are_looked_up() -> None:
    from videonl.visualization import ShownClip

    frames = torch.arange(11, dtype=torch.uint8)[:, None, None, None].expand(11, 37, 41, 3).contiguous()
    picture = plain(ShownClip("a", frames, tuple(range(11)), (0.0,) * 11, (0, 0, 37, 41)))
    sheet = Sheet((11, 37, 41))
    for x, y in ((0, 0), (130, 50), (300, 120), (500, 7), (260, 200), (900, 100)):
        position = sheet.position(x, y)
        assert position is not None
        assert picture.getpixel((x, y)) == (position[0],) * 3
    assert sheet.position(600, 200) is None  # the second row has but three frames


def test_complaints_name_the_file_and_not_its_place_on_the_server(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video " * 99)
    answers = Answers(videonl.load(weights, device="cpu"), num_clips=1)
    with pytest.raises(RuntimeError, match=r"^text\.mp4: cannot be decoded"):
        explained(answers.classes, RuntimeError)(str(tmp_path / "text.mp4"))
    with pytest.raises(RuntimeError, match="Upload a video first"):
        explained(answers.classes, RuntimeError)(None)
