"""The published Kinetics-400 I3D, converted, on real footage: the answer that a person would give."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from videonl.data.dataset import read_views
from videonl.data.transforms import ClipFormat, Views, normalize
from videonl.data.video import Video
from videonl.models.checkpoints import Trained, load_trained
from videonl.models.class_names import class_names
from videonl.models.conversion import convert

pytestmark = [pytest.mark.shared, pytest.mark.slow]
STROKES = ("backhand", "forehand", "serve")


@pytest.fixture(scope="module")
def i3d(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """DeepMind's network under piergiaj's names, converted without a word on its clips."""
    file = Path(__file__).resolve().parents[4] / "shared" / "weights" / "i3d_rgb_kinetics400.pt"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    out = tmp_path_factory.mktemp("i3d") / "i3d.pt"
    convert(file, "i3d-inception").save(out)
    return load_trained(out)


def probabilities(trained: Trained, video: Path) -> torch.Tensor:
    """Of the middle clip's center."""
    clip_format = ClipFormat(**trained.clip)
    (view,) = read_views(Video(video, label=0), clip_format, Views(1, 1), "auto")
    with torch.inference_mode():
        return trained.network(normalize(view[None], clip_format.mean, clip_format.std))[0].softmax(0)


def test_it_knows_its_clip_and_its_classes(i3d: Trained) -> None:
    assert (i3d.clip["num_frames"], i3d.clip["stride_frames"], i3d.clip["crop_px"]) == (64, 1, 224)
    assert i3d.class_names == class_names("kinetics400")
    assert i3d.class_names[246] == "playing tennis"


def test_tennis_strokes_are_playing_tennis(i3d: Trained, shared_clips: Path) -> None:
    best = Counter[str]()
    for stroke in STROKES:
        found = probabilities(i3d, sorted((shared_clips / "tennis7" / stroke).glob("*.mp4"))[0])
        best[i3d.class_names[int(found.argmax())]] += 1
    assert best == {"playing tennis": len(STROKES)}
