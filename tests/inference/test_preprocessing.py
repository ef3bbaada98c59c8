"""Preprocessing outside of videonl: in the graph of a program, and as the function of the docs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import videonl
from videonl.data.transforms import ClipFormat, resize
from videonl.inference.preprocessing import WithPreprocessing, resizing_matrix

PAGE = Path(__file__).resolve().parents[2] / "docs" / "weights.md"
SIZES = [(46, 62), (62, 46), (37, 41), (29, 101), (31, 31), (97, 131)]
# Where PyTorch has no whole-number kernel it resizes in float32.
LEVELS = 0 if "AVX" in torch.backends.cpu.get_cpu_capability() else 1


def frames_of(height: int, width: int, num_frames: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (num_frames, height, width, 3), dtype=torch.uint8)


def of_docs() -> dict[str, Any]:
    """What the page defines."""
    (code,) = (
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def preprocess" in block
    )
    defined: dict[str, Any] = {}
    exec(code, defined)
    return defined


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_graph_and_the_function_of_the_docs_are_the_models_preprocessing(
    weights: Path, height: int, width: int
) -> None:
    model = videonl.load(weights, device="cpu")
    frames = frames_of(height, width, 9)  # as many as a clip of 5 at stride 2 reaches over
    expected = model.preprocess(frames)
    clip = frames[::2]
    found = WithPreprocessing(model.network, model.clip, (height, width)).prepare(clip[None])
    told = of_docs()["preprocess"](clip.numpy(), vars(model.clip))
    level = LEVELS / 255 / min(model.clip.std)
    assert found.shape == expected.shape == told.shape
    assert (found - expected).abs().max() <= level + (1e-6 if LEVELS else 0)
    assert np.abs(told - expected.numpy()).max() <= level + 1e-6


def test_crops_are_only_normalized_and_scored_as_the_network_does(weights: Path) -> None:
    model = videonl.load(weights, device="cpu")
    crops = torch.stack([frames_of(31, 31), frames_of(31, 31)])
    program = WithPreprocessing(model.network, model.clip).eval()
    with torch.inference_mode():
        found = program(crops)
        expected = model.network(model.recognizer.inputs(crops.permute(0, 4, 1, 2, 3)))
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("length", "size"), [(7, 7), (13, 5), (5, 13), (101, 2), (2, 101), (640, 341), (1080, 256)])
def test_matrices_resize_as_torch_does_and_as_pillow_to_one_level(length: int, size: int) -> None:
    matrix, bits = resizing_matrix(length, size)
    assert matrix.shape == (size, length) and torch.equal(matrix, matrix.round())
    row = torch.randint(0, 256, (3, 2, length), dtype=torch.uint8)
    found = (row.double() @ matrix.T / 2**bits + 0.5).floor().clamp(0, 255)
    expected = resize(row[None], (2, size))[0]
    assert (found - expected.double()).abs().max() <= LEVELS
    picture = Image.fromarray(row.permute(1, 2, 0).numpy()).resize((size, 2), Image.Resampling.BILINEAR)
    assert (found - torch.from_numpy(np.array(picture)).permute(2, 0, 1)).abs().max() <= 1


def test_double_precision_keeps_whole_numbers() -> None:
    class Mean(nn.Module):
        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            return clip.mean(dim=(2, 3, 4))

    clip = ClipFormat(num_frames=5, stride_frames=1, short_side_px=17, crop_px=13)
    frames = frames_of(23, 29)[None]
    single, double = WithPreprocessing(Mean(), clip, (23, 29)), WithPreprocessing(Mean(), clip, (23, 29)).double()
    torch.testing.assert_close(single(frames).double(), double(frames), rtol=1e-5, atol=1e-6)
