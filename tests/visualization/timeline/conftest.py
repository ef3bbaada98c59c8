"""A timeline of made-up probabilities over a real video, and its page in a real browser."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from videonl.visualization.h264 import Look, write_h264
from videonl.visualization.timeline import Timeline

FPS, NUM_FRAMES, SIZE = 24, 149, (46, 62)
NUM_WINDOWS, NUM_CLASSES = 29, 13
HOSTILE = ['</script><img src=x onerror="hacked=1">', 'say "a, b"\nthen {{script}}', "<b>bold</b> --> {\\b1}"]
NAMES = [*HOSTILE, *(f"class {index}" for index in range(3, NUM_CLASSES))]


def write_video(path: Path) -> Path:
    """A gray that brightens with every frame."""
    frames = ((index / FPS, torch.full((*SIZE, 3), 20 + index, dtype=torch.uint8)) for index in range(NUM_FRAMES))
    write_h264(path, frames, FPS, Look(crf=10))
    return path


def made_up(video: Path | str, num_windows: int = NUM_WINDOWS, seconds: float = NUM_FRAMES / FPS) -> Timeline:
    """Runs of windows with one likely class each, at uneven times that are ties in milliseconds here and there."""
    random = np.random.default_rng(7)
    runs = np.arange(num_windows) // 3 * 5 % NUM_CLASSES
    logits = random.normal(size=(num_windows, NUM_CLASSES))
    logits[np.arange(num_windows), runs] += random.uniform(1, 6, num_windows)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    times = np.sort(random.integers(1, int(seconds * 64), num_windows)) / 64 + np.arange(num_windows) * 1e-3
    spans = np.stack([times - 0.05, times + 0.05], axis=1)
    return Timeline(str(video), NAMES, times, spans, probabilities, seconds, FPS, {"backbone": "<i>x</i>"})


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("timeline") / "a # video?.mp4")


@pytest.fixture(scope="session")
def make_timeline() -> Callable[..., Timeline]:
    return made_up


@pytest.fixture(scope="session")
def timeline(video: Path) -> Timeline:
    return made_up(video)


@pytest.fixture(scope="session")
def page_file(timeline: Timeline, video: Path) -> Path:
    """Beside the video, in a folder of its own."""
    path = video.parent / "pages" / "match.html"
    assert timeline.save(path, threshold=0.3) == [path]
    return path
