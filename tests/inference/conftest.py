"""A small network in a file, as ``videonl convert`` writes one, with a block that changes something; and videos."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from videonl.models import ClipClassifier, Insertion
from videonl.models.weights import Weights

CLASS_NAMES = ["hug", "kick", "point", "punch", "push"]
CLIP = {"num_frames": 5, "stride_frames": 2, "short_side_px": 37, "crop_px": 31}
PIXELS = {"mean": (0.45,) * 3, "std": (0.225,) * 3}


def small_weights(seed: int = 0, after: str = "res3", **clip: object) -> Weights:
    """Weights of a ResNet of width 3 with a non-local block, all of whose numbers are drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = ClipClassifier("i3d_r50", len(CLASS_NAMES), [Insertion("nonlocal", [after])], width=3)
        for tensor in classifier.network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) * 0.2 + 0.05 if tensor.ndim == 1 else torch.randn_like(tensor) / 9)
    return Weights(
        state=classifier.network.state_dict(),
        source="drawn",
        network=classifier.settings,
        clip={**CLIP, **PIXELS, **clip},
        class_names=CLASS_NAMES,
    )


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file."""
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    small_weights().save(path)
    return path


def textured(path: Path, num_frames: int = 59, size: tuple[int, int] = (61, 83), vfr: bool = False) -> Path:
    """A moving texture, in which every frame and every place differs."""
    noise = np.random.default_rng(3).integers(0, 255, (*size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "13"})
        stream.height, stream.width, stream.pix_fmt = size[0], size[1] - 1, "yuv444p"
        stream.codec_context.thread_count = 1
        if vfr:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(num_frames):
            pixels = np.roll(noise, (2 * index, 3 * index), (0, 1))[:, : size[1] - 1]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if vfr:
                frame.pts, frame.time_base = 40 * index + 7 * (index % 5), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
