"""From the decoder to the network channels change places at most twice, and no pixel is copied for that."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from videonl.data import video as videos
from videonl.data.augmentation import Augmentation, Color, TrainTransform
from videonl.data.batches import collate_evaluation, collate_training
from videonl.data.dataset import EvaluationVideos, TrainingClips
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import PackedVideos, Video
from videonl.inference.recognizer import network_input

CLIP = ClipFormat(num_frames=5, stride_frames=2, short_side_px=37, crop_px=31)
AUGMENTATION = Augmentation(short_side_px=(37, 41), color=Color(brightness=0.3, saturation=0.3))
MOVES = ("permute", "transpose", "movedim", "t")


class Moves(TorchDispatchMode):
    """Counts what reorders the dimensions of tensors, and the copies that lay pixels out anew in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in MOVES:
            self.counts["moves"] += 1
        if name in ("clone", "copy_", "_to_copy"):
            source = args[1] if name == "copy_" else args[0]
            self.counts["copies"] += order(source) != order(result)
        return result


def order(tensor: torch.Tensor) -> list[int]:
    """The dimensions of more than one place, from the outermost in memory to the innermost."""
    long = [dim for dim, size in enumerate(tensor.shape) if size > 1]
    return sorted(long, key=lambda dim: -tensor.stride(dim))


@pytest.fixture
def packed(encode_video: Callable[..., Path], tmp_path: Path) -> PackedVideos:
    return PackedVideos(Video(encode_video(tmp_path / f"{n}.mp4", n, 46, 62), n % 3) for n in (19, 23))


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_channels_change_places_at_most_twice(packed: PackedVideos, kind: str) -> None:
    with Moves() as moves:
        if kind == "training":
            training = TrainingClips(packed, CLIP, TrainTransform(CLIP, AUGMENTATION))
            clips = collate_training([training[0, 1]])["clip"]
        else:
            clips = collate_evaluation([EvaluationVideos(packed, CLIP, Views(2, 3))[1]])["clip"]
        given = network_input(clips, CLIP, torch.float32, torch.channels_last_3d)
    assert given.is_contiguous(memory_format=torch.channels_last_3d)
    assert 1 <= moves.counts["moves"] <= 2
    assert moves.counts["copies"] == 0


@pytest.mark.parametrize("epoch", [None, 3])
def test_a_video_is_unpickled_once(packed: PackedVideos, monkeypatch: pytest.MonkeyPatch, epoch: int | None) -> None:
    unpickled: list[Video] = []
    loads = videos.pickle.loads
    monkeypatch.setattr(videos.pickle, "loads", lambda data: unpickled.append(loads(data)) or unpickled[-1])
    if epoch is None:
        EvaluationVideos(packed, CLIP, Views(2, 3))[1]
    else:
        TrainingClips(packed, CLIP, TrainTransform(CLIP, AUGMENTATION), clips_per_video=2)[epoch, 1]
    assert [video.label for video in unpickled] == [23 % 3]
