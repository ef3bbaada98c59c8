"""``videonl bench model``: a whole network beside plain pytorchvideo."""

import json as json_lines
from dataclasses import replace
from typing import Literal

import torch

from videonl.backbones import BACKBONES
from videonl.benchmarks import machine
from videonl.benchmarks.network_comparison import compare_network, network_table
from videonl.benchmarks.networks import NetworkSetting
from videonl.cli.bench import progress, require_seconds, saying_if_busy
from videonl.cli.refusals import require_at_least
from videonl.data.loader import MOST_CLIPS
from videonl.errors import MOST_FRAMES, MOST_PIXELS, MOST_WIDTH, UserError
from videonl.models import Execution
from videonl.terminal import Console

DTYPES = {"cpu": ("float32",), "cuda": ("float32", "tf32", "bfloat16")}
NUM_TOLD = 4  # times that a comparison says what it has done


def bench_model(
    backbone: str = "i3d_r50",
    blocks: bool = True,
    subsample: bool = True,
    batch_size: int = 2,
    num_frames: int = 8,
    size_px: int = 224,
    width: int = 64,
    device: Literal["all", "cpu", "cuda"] = "all",
    dtype: Literal["default", "float32", "tf32", "bfloat16"] = "default",
    execution: Execution = Execution(),
    keep_memory: bool = True,
    seconds: float = 30.0,
    json: bool = False,
) -> None:
    """Times a training step and an inference of a network, ours and plain pytorchvideo's, with the same weights.

    Each side runs in its own process, and both are called in turn. The plain side uses PyTorch's default memory format
    and blocks that build the matrix of affinities; ours uses channels-last memory, the given execution options, and
    folded norms for inference. Times are medians of as many rounds as their spread asks for, after a first one; a ratio
    that may be off by more than a tenth is called unstable. Peak memory is that of the first training step beyond
    weights and clips. The rate of matrix products is the best of torch.matmul on square matrices; a training step
    counts as three forwards.

    Args:
        backbone: Name of the 3D CNN.
        blocks: Insert five non-local blocks, after residuals 1 and 3 of res3 and 1, 3 and 5 of res4.
        subsample: Subsample their keys.
        batch_size: Clips per step.
        num_frames: Frames per clip.
        size_px: Height and width of a frame.
        width: Channels of the stem.
        device: ``all`` is the CPU, and CUDA if present.
        dtype: By default float32, and on CUDA TF32 and bfloat16 (autocast) as well.
        execution: Options of our side; switch one off to see its effect.
        keep_memory: Whether our process keeps freed memory (CPU).
        seconds: Time for repeating both sides, once for training steps and once for inference.
        json: Print one JSON object per line instead of a table.
    """
    if backbone not in BACKBONES:
        raise UserError(f"unknown backbone {backbone!r}; the backbones are: {', '.join(sorted(BACKBONES))}")
    require_at_least(1, MOST_CLIPS, batch_size=batch_size)
    require_at_least(1, MOST_FRAMES, num_frames=num_frames)
    require_at_least(1, MOST_PIXELS, size_px=size_px)
    require_at_least(1, MOST_WIDTH, width=width)
    require_seconds(seconds)
    shape = (batch_size, 3, num_frames, size_px, size_px)
    setting = NetworkSetting(backbone, blocks, subsample, shape, width, execution=execution, keep_memory=keep_memory)
    settings = _settings(setting, device, dtype)
    console = Console()
    if not json:
        console.print(machine())
    with saying_if_busy(), progress(NUM_TOLD * len(settings), "building both sides") as advance:
        for one in settings:
            row = compare_network(one, seconds, advance)
            if json:
                print(json_lines.dumps(row.as_json()), flush=True)
            else:
                console.print(network_table(row))


def _settings(setting: NetworkSetting, device: str, dtype: str) -> list[NetworkSetting]:
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda needs a CUDA GPU, and torch finds none")
    devices = [name for name in DTYPES if device in (name, "all") and (name == "cpu" or torch.cuda.is_available())]
    return [
        replace(setting, device=name, dtype=chosen)
        for name in devices
        for chosen in (DTYPES[name] if dtype == "default" else (dtype,))
    ]
