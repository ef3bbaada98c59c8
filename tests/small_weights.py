"""A small network with a block that changes something, as ``videonl convert`` writes one; the format of its clips."""

import torch

from videonl.models import ClipClassifier, Insertion
from videonl.models.weights import Weights

CLASS_NAMES = ["hug", "kick", "point", "punch", "push"]
CLIP = {
    "num_frames": 5,
    "stride_frames": 2,
    "short_side_px": 37,
    "crop_px": 31,
    "mean": (0.45,) * 3,
    "std": (0.225,) * 3,
}


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
        clip={**CLIP, **clip},
        class_names=CLASS_NAMES,
    )
