"""The front door: ``videonl.load`` and what a model answers."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videonl
from tests.small_weights import CLASS_NAMES, small_weights
from videonl.data.dataset import read_views
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import Video
from videonl.errors import UserError
from videonl.inference import Model, Recognizer
from videonl.models.checkpoints import load_trained


@pytest.fixture(scope="module")
def model(weights: Path) -> Model:
    return videonl.load(weights, device="cpu")


@pytest.fixture(scope="module")
def video(video_folder: Path) -> Path:
    return video_folder / "b" / "clip_3.mp4"


def frames_of(path: Path) -> torch.Tensor:
    with open_video(path) as reader:
        return reader.read(range(reader.num_frames))


def test_a_prediction_has_the_logits_of_the_one_road(model: Model, weights: Path, video: Path) -> None:
    trained = load_trained(weights)
    recognizer = Recognizer(trained.network, ClipFormat(**trained.clip))
    expected = recognizer.logits(read_views(Video(video, 0), recognizer.clip, Views(2, 3)))
    prediction = model.predict(video, num_clips=2, num_crops=3)
    assert torch.equal(prediction.logits, expected)
    naive = expected.double().softmax(dim=1).mean(dim=0)
    assert torch.allclose(prediction.scores, naive, rtol=0, atol=1e-15)
    best = int(naive.argmax())
    assert (prediction.label, prediction.probability) == (CLASS_NAMES[best], float(naive[best]))
    assert prediction.top(2) == sorted(prediction.probabilities.items(), key=lambda each: -each[1])[:2]
    assert prediction.views == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))


def test_decoded_frames_are_as_good_as_their_file(model: Model, video: Path) -> None:
    frames = frames_of(video)
    expected = model.predict(video, num_clips=1).logits
    for given in (frames, frames.numpy(), list(frames), list(frames.numpy()), frames.numpy()[::-1][::-1]):
        assert torch.equal(model.predict(given, num_clips=1).logits, expected)
    clip = model.preprocess(frames)
    assert clip.shape == (1, 3, 5, 31, 31)
    with torch.inference_mode():
        assert torch.allclose(model.network(clip), model.predict(frames, num_clips=1, num_crops=1).logits, atol=1e-5)
    attended, of_file = model.attention(frames, (1, 7, 11)), model.attention(video, (1, 7, 11))
    assert torch.equal(attended["res3.3"].weights, of_file["res3.3"].weights)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((3, 7, 11), np.uint8), r"got torch.uint8 of shape \(3, 7, 11\)"),
        (np.zeros((3, 7, 11, 3)), "got torch.float64"),
        (np.zeros((0, 7, 11, 3), np.uint8), r"shape \(0, 7, 11, 3\)"),
        (torch.zeros(3, 7, 11, 4, dtype=torch.uint8), "shape"),
        ([np.zeros((7, 11, 3), np.uint8), np.zeros((7, 13, 3), np.uint8)], "cannot be read as one array"),
    ],
)
def test_other_arrays_are_refused(model: Model, frames: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.predict(frames)


def test_clips_in_seconds_follow_the_rate_of_decoded_frames(video: Path) -> None:
    weights = small_weights(stride_seconds=0.125)
    trained = load_trained_weights(weights, video.parent)
    frames = frames_of(video)
    in_file = trained.predict(video, num_clips=1).logits
    assert torch.equal(trained.predict(frames, fps=24.0, num_clips=1).logits, in_file)
    other = trained.predict(frames, fps=8.0, num_clips=1)
    assert not torch.equal(other.logits, in_file)


def load_trained_weights(weights: Any, folder: Path) -> Model:
    path = folder / "in_seconds.pt"
    weights.save(path)
    try:
        return videonl.load(path, device="cpu")
    finally:
        path.unlink()


def test_loading_and_predicting_change_nothing_global(weights: Path, video: Path) -> None:
    def everything() -> tuple[Any, ...]:
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # type: ignore[index]  # numpy's own type is a union
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
        )

    before = everything()
    videonl.load(weights).predict(video, num_clips=1)
    assert everything() == before


def test_two_models_do_not_disturb_each_other(model: Model, weights: Path, video: Path, tmp_path: Path) -> None:
    small_weights(seed=7, after="res4").save(tmp_path / "other.pt")
    alone = model.predict(video, num_clips=1).logits
    other = videonl.load(tmp_path / "other.pt")
    of_other = other.predict(video, num_clips=1).logits
    assert not torch.equal(of_other, alone)
    assert torch.equal(model.predict(video, num_clips=1).logits, alone)
    assert torch.equal(other.predict(video, num_clips=1).logits, of_other)


def test_threads_may_share_a_model(model: Model, video_folder: Path) -> None:
    videos = sorted(video_folder.glob("*/*.mp4"))
    expected = {video: model.predict(video, num_clips=1, num_crops=1).logits for video in videos}
    attended = model.attention(videos[3])["res3.3"].weights
    found: dict[Path, torch.Tensor] = {}
    seen: list[torch.Tensor] = []

    def work(video: Path) -> None:
        found[video] = model.predict(video, num_clips=1, num_crops=1).logits
        seen.append(model.attention(videos[3])["res3.3"].weights)

    threads = [threading.Thread(target=work, args=(video,)) for video in videos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[video], expected[video]) for video in videos)
    assert len(seen) == len(videos)
    assert all(torch.equal(weights, attended) for weights in seen)


def test_evidence_is_asked_for_by_class(model: Model, video: Path) -> None:
    maps = model.evidence(video, "kick", "push")
    assert list(maps) == ["kick", "push"]
    assert maps.label == next(iter(model.evidence(video)))
    written = maps.save(video.parent / "maps", ".npz")
    assert [path.name for path in written] == ["kick.npz", "push.npz"]
    with np.load(written[0]) as arrays:
        assert np.array_equal(arrays["evidence"][0], maps["kick"].values.numpy())
    with pytest.raises(UserError, match="unknown class 'fly'"):
        model.evidence(video, "fly")
    with pytest.raises(UserError, match=r"\.gif"):
        maps.save(video.parent, ".txt")


def test_precisions(weights: Path, video: Path) -> None:
    exact = videonl.load(weights, device="cpu").predict(video, num_clips=1).scores
    coarse = videonl.load(weights, device="cpu", precision="bfloat16").predict(video, num_clips=1).scores
    assert 0 < (exact - coarse).abs().max() < 0.05
    for precision in ("float16", "int8"):
        with pytest.raises(UserError, match="float32"):
            videonl.load(weights, device="cpu", precision=precision)  # type: ignore[arg-type]  # what users may write


def test_what_cannot_be_loaded(weights: Path, tmp_path: Path) -> None:
    for source, message in (
        (tmp_path, "holds no trained network"),
        ("kinetics400/i3d_r5", "or a published name; these are: kinetics400/c2d_r50"),
        ("imagenet/resnet50", "classifies images"),
        (tmp_path / "gone.ckpt", "does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            videonl.load(source)
    with pytest.raises(UserError, match="has 5 classes, and 2 names"):
        videonl.load(weights, classes=["hug", "kick"])
    assert videonl.load(weights, classes=list("abcde")).class_names == list("abcde")


def test_a_single_video_that_cannot_be_read_is_named(model: Model, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "gone.mp4"):
        with pytest.raises(DecodingError, match=name):
            model.predict(tmp_path / name)


def test_predictions_print_well(model: Model, video: Path) -> None:
    prediction = model.predict(video, num_clips=1, num_crops=1)
    lines = str(prediction).splitlines()
    assert lines[0] == f"{video}, 1 view"
    assert len(lines) == 6
    assert lines[1].split() == [f"{100 * prediction.probability:.2f}", "%", prediction.label]
    assert repr(prediction).startswith("Prediction(")
    assert prediction._repr_html_().count("<tr>") == 5
    assert "i3d_r50" in repr(model)


def test_the_front_door_opens_at_once() -> None:
    code = "import sys, videonl; dir(videonl); print([n for n in ('torch', 'numpy', 'lightning') if n in sys.modules])"
    started = time.perf_counter()
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
    assert time.perf_counter() - started < 30  # of a process that imports nothing heavy, on any machine


def test_every_name_of_the_front_door_is_there() -> None:
    for name in videonl.__all__:
        assert getattr(videonl, name) is not None
    assert set(dir(videonl)) >= set(videonl.__all__)


def test_the_front_door_needs_no_lightning(weights: Path, video: Path) -> None:
    code = (
        "import sys; sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None; import videonl; "
        f"print(videonl.load({str(weights)!r}, device='cpu').predict({str(video)!r}, num_clips=1).label)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() in CLASS_NAMES
