"""Changes the clips or class names of a file that videonl converted or trained."""

from dataclasses import fields, replace
from pathlib import Path

from videonl.errors import UserError
from videonl.models.checkpoints import read_weights
from videonl.models.conversion.foreign import Stated
from videonl.models.weights import Weights

CLIP = ("num_frames", "stride_frames")


def own(path: Path, stated: Stated) -> Weights:
    """The same weights, with the clip that was stated in the place of what the file says.

    Raises:
        UserError: When the file is not one of videonl's, or something was stated that it knows.
    """
    weights = read_weights(path)
    for name in (each.name for each in fields(stated) if each.name not in CLIP):
        if getattr(stated, name) is not None:
            raise UserError(f"--{name} is for checkpoints of other projects; {path} already records it")
    if stated.num_frames is None:
        return weights
    # A stride in seconds or another way of sampling would go before the stride in frames.
    kept = {name: value for name, value in weights.clip.items() if name not in ("stride_seconds", "sampling")}
    return replace(weights, clip={**kept, "num_frames": stated.num_frames, "stride_frames": stated.stride_frames})
