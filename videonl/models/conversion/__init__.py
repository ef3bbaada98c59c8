"""Converts checkpoints of other projects without guesses: anything that does not fit or is not known is an error."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from videonl.backbones.slowfast import ALPHA, SLOWFASTS
from videonl.errors import UserError
from videonl.models.conversion.alexhex7 import alexhex7_block
from videonl.models.conversion.caffe2 import caffe2_nonlocal
from videonl.models.conversion.checkpoint_io import read_arrays, read_torch
from videonl.models.conversion.engine import assemble
from videonl.models.conversion.foreign import Foreign, Stated
from videonl.models.conversion.i3d_jax import i3d_jax
from videonl.models.conversion.inception import i3d_inception
from videonl.models.conversion.kenshohara import kenshohara
from videonl.models.conversion.mmaction2 import mmaction2
from videonl.models.conversion.own import own
from videonl.models.conversion.pytorchvideo import pytorchvideo
from videonl.models.conversion.recognition import refusal
from videonl.models.conversion.slowfast import slowfast
from videonl.models.conversion.torchvision import torchvision
from videonl.models.weights import Weights

Layout = Literal[
    "pytorchvideo",
    "slowfast",
    "mmaction2",
    "torchvision",
    "caffe2-nonlocal",
    "i3d-inception",
    "i3d-jax",
    "alexhex7-block",
    "kenshohara",
    "videonl",
]
NETWORKS: dict[str, Callable[[Any, Stated], Foreign]] = {
    "pytorchvideo": pytorchvideo,
    "slowfast": slowfast,
    "mmaction2": mmaction2,
    "torchvision": torchvision,
    "caffe2-nonlocal": caffe2_nonlocal,
    "i3d-inception": i3d_inception,
    "i3d-jax": i3d_jax,
    "kenshohara": kenshohara,
}

# 32 frames at stride 2 in ``i3d_r50_32x2x1_100e.pth``, 4 at stride 16 in ``SLOWONLY_4x16_R50.pkl``.
CLIP_IN_NAME = re.compile(r"(?<![0-9A-Za-z])(\d{1,3})x(\d{1,2})(?=x1(?!\d)|[^0-9A-Za-z])")
OF_ARRAYS = ("caffe2-nonlocal", "i3d-jax")
ABOUT_BLOCKS = ("pairwise", "scale", "subsample")

__all__ = ["Layout", "Stated", "convert", "convert_content"]


def convert(path: Path, layout: Layout, stated: Stated = Stated()) -> Weights:
    """Converts a checkpoint of another project. No code in the file runs.

    Args:
        path: The file.
        layout: The project that wrote it; ``videonl`` for a file of videonl, to change its clips or classes.
        stated: Facts that the file does not record.

    Returns:
        Weights of one of our networks, complete except perhaps for the head, or of one block.

    Raises:
        UserError: When the file cannot be read as plain weights, anything does not fit, or a fact is missing on
            which the outputs of the network depend.
    """
    if layout not in get_args(Layout):
        raise UserError(f"unknown layout {layout!r}; known are {', '.join(get_args(Layout))}")
    if layout == "videonl":
        return own(path, stated)
    content = read_arrays(path) if layout in OF_ARRAYS else read_torch(path)
    try:
        weights = convert_content(content, layout, stated, f"{path.name} ({layout})")
        _refuse_another_clip(path.name, weights, stated)
        return weights
    except UserError as error:
        raise UserError(f"{path}: {refusal(content, layout) or error}") from error
    except (LookupError, TypeError, ValueError) as error:  # weights of shapes, or a configuration, of no such project
        why = refusal(content, layout) or f"it does not look like a checkpoint of {layout} ({error})"
        raise UserError(f"{path}: {why}") from error


def convert_content(content: Any, layout: Layout, stated: Stated, source: str) -> Weights:
    """Converts what :func:`convert` has read."""
    if layout == "alexhex7-block":
        return alexhex7_block(content, stated, source)
    foreign = NETWORKS[layout](content, stated)
    _refuse_contradictions(foreign, stated)
    return assemble(foreign, source)


def _refuse_another_clip(name: str, weights: Weights, stated: Stated) -> None:
    """Rejects a file whose name has another clip than the one published for its layout."""
    found = [f"{num_frames}x{stride}" for num_frames, stride in CLIP_IN_NAME.findall(name)]
    if not found or stated.num_frames is not None or "num_frames" not in weights.clip:
        return
    num_frames, stride_frames = weights.clip["num_frames"], weights.clip["stride_frames"]
    published = f"{num_frames}x{stride_frames}"
    # Its publishers name SlowFast by the frames of its slow pathway.
    slow = weights.network and weights.network["backbone"] in SLOWFASTS and (num_frames // ALPHA, stride_frames * ALPHA)
    if published not in found and (not slow or "{}x{}".format(*slow) not in found):
        raise UserError(
            f"its name says {found[0]}, frames x stride, but {published} is published for this network; state the "
            f"clip of its training: --clip {found[0]} or --clip {published}"
        )


def _refuse_contradictions(foreign: Foreign, stated: Stated) -> None:
    """Rejects stated facts that contradict the file or its layout."""
    if foreign.stem is None and stated.strides is not None:
        raise UserError(f"--strides is for the stem of a ResNet; {foreign.backbone} keeps its own")
    padding = None if foreign.stem is None else foreign.stem.pool_padding_px
    if stated.pool_padding not in (None, padding):
        raise UserError(f"--pool_padding {stated.pool_padding} contradicts this layout, which has {padding}")
    for name in ABOUT_BLOCKS:
        if not foreign.blocks and getattr(stated, name) is not None:
            raise UserError(f"--{name} is for non-local blocks, but the file has none")
    for (stage, index), options in foreign.blocks.items():
        for name in ABOUT_BLOCKS:
            value = getattr(stated, name)
            if value is not None and options.get(name, value) != value:
                raise UserError(f"--{name} {value}: the block after {stage}.{index} of the file has {options[name]}")
