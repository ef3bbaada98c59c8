from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from videonl.data.reading.decoding import open_video
from videonl.data.transforms import ClipFormat, Views, ViewTransform
from videonl.errors import UserError
from videonl.evaluation.views import average_views
from videonl.inference import Recognizer, load
from videonl.inference.timeline import timeline_of
from videonl.inference.windows import Windows
from videonl.models.checkpoints import load_trained

NAMES = ["hug", "kick", "point", "punch", "push"]


@pytest.fixture(scope="module")
def recognizer(weights: Path) -> Recognizer:
    trained = load_trained(weights)
    return Recognizer(trained.network, ClipFormat(**trained.clip))


@pytest.fixture
def video(encode_video, tmp_path: Path) -> Path:
    return encode_video(tmp_path / "video.mp4", num_frames=53)


def in_clip(recognizer: Recognizer, **clip: object) -> Recognizer:
    return Recognizer(recognizer.network, replace(recognizer.clip, **clip), fold=False)


@pytest.mark.parametrize("num_crops", [1, 3])
@pytest.mark.parametrize("clip", [{}, {"stride_seconds": 0.11}])
def test_each_window_has_the_probabilities_of_its_clip_alone_to_the_bit(
    recognizer: Recognizer, video: Path, clip: dict[str, float], num_crops: int
) -> None:
    asked = in_clip(recognizer, **clip)
    found = timeline_of(asked, NAMES, video, stride_seconds=0.3, num_crops=num_crops)
    transform = ViewTransform(asked.clip, Views(num_crops=num_crops))
    with open_video(video) as reader:
        windows = Windows.every_seconds(reader, asked.clip, 0.3)
        assert len(found) == len(windows) > 5
        for number, window in enumerate(windows):
            views = transform(reader.read(window.frames).permute(0, 3, 1, 2), [range(len(window.frames))])
            expected = average_views(asked.logits(views))
            assert np.array_equal(found.probabilities[number], expected.numpy())
            assert (found.starts[number], found.ends[number]) == (window.start_seconds, window.end_seconds)
            assert found.times[number] == window.center_seconds
        assert (found.duration_seconds, found.fps) == (reader.duration_seconds, reader.fps)
    assert found.bounds[0] == 0 and found.bounds[-1] == found.duration_seconds
    assert not np.array_equal(found.probabilities[0], found.probabilities[-1])


def test_a_window_is_what_predict_says_of_its_frames(weights: Path, video: Path) -> None:
    model = load(weights)
    found = model.timeline(video, stride_seconds=0.4)
    with open_video(video) as reader:
        window = Windows.every_seconds(reader, model.clip, 0.4)[2]
        frames = reader.read(range(window.first_frame, window.last_frame + 1))
    alone = model.predict(frames, num_clips=1, num_crops=1)
    assert np.array_equal(found.probabilities[2], alone.scores.numpy())


def test_decoded_frames_make_the_timeline_of_their_file(recognizer: Recognizer, video: Path) -> None:
    with open_video(video) as reader:
        frames, fps = reader.read(range(reader.num_frames)), reader.fps
    of_file, of_frames = timeline_of(recognizer, NAMES, video), timeline_of(recognizer, NAMES, frames, fps=fps)
    assert np.array_equal(of_file.probabilities, of_frames.probabilities)
    assert of_frames.video == "decoded frames" and of_file.video == str(video)
    assert of_frames.times == pytest.approx(of_file.times, abs=1e-6)


def test_progress_counts_windows_and_the_timeline_says_how_it_was_made(recognizer: Recognizer, video: Path) -> None:
    told: list[tuple[int, int]] = []
    found = timeline_of(
        recognizer, NAMES, video, num_crops=3, average="logits", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(done, len(found)) for done in range(1, len(found) + 1)]
    assert found.about["windows"] == "every 0.5 s, 3 crops of each"
    assert found.about["clip"] == recognizer.clip.describe() and "after res3.3" in found.about["blocks"]
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(len(found)), abs=1e-12)


def test_what_has_no_timeline_is_refused_by_name(recognizer: Recognizer, video: Path, encode_video, tmp_path) -> None:
    with pytest.raises(UserError, match="no windows of clips by uniform sampling"):
        timeline_of(in_clip(recognizer, sampling="uniform"), NAMES, video)
    with pytest.raises(UserError, match="7 class names, and the network has 5 classes"):
        timeline_of(recognizer, [*NAMES, "six", "seven"], video)
    short = encode_video(tmp_path / "short.mp4", num_frames=7)
    with pytest.raises(UserError, match=r"short\.mp4 has 7 frames .* too short for one window"):
        timeline_of(recognizer, NAMES, short)
    with pytest.raises(UserError, match="stride_seconds must be at least"):
        timeline_of(recognizer, NAMES, video, stride_seconds=0)


def test_scores_that_are_no_numbers_are_refused(recognizer: Recognizer, video: Path) -> None:
    broken = Recognizer(torch.nn.Sequential(recognizer.network, Broken()), recognizer.clip)
    with pytest.raises(UserError, match=r"video\.mp4 are not finite"):
        timeline_of(broken, NAMES, video)


class Broken(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float("nan")


def test_a_part_of_a_video_has_a_timeline_and_a_film_of_its_own(
    recognizer: Recognizer, video: Path, tmp_path: Path
) -> None:
    part = f"{video}#frames=11,47"
    found = timeline_of(recognizer, NAMES, part)
    with open_video(video) as reader:
        frames, fps = reader.read(range(11, 47)), reader.fps
    of_frames = timeline_of(recognizer, NAMES, frames, fps=fps)
    assert np.array_equal(found.probabilities, of_frames.probabilities)
    assert (found.video, found.duration_seconds) == (part, pytest.approx(36 / fps, abs=1e-6))
    found.save(tmp_path / "out" / "part.mp4")
    with open_video(tmp_path / "out" / "part.mp4") as film:
        assert film.num_frames == 36
    found.save(tmp_path / "out" / "part.html")
    with open_video(tmp_path / "out" / "part_video.mp4") as played:  # the page plays the part alone
        assert played.num_frames == 36
