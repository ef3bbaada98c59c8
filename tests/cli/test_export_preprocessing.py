"""Exported programs that take decoded frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import videonl as package

Videonl = Callable[..., Any]
WHOLE = ["--with_preprocessing", "--frame_height_px", 41, "--frame_width_px", 53]


def expected_of(checkpoint: Path, frames: torch.Tensor) -> torch.Tensor:
    model = package.load(checkpoint, device="cpu")
    span = (model.clip.num_frames - 1) * model.clip.stride_frames + 1
    with torch.inference_mode():
        # Each frame of the clip as often as it is passed over: the middle clip is then the clip.
        return torch.cat(
            [
                model.network(model.preprocess(clip.repeat_interleave(model.clip.stride_frames, 0)[:span]))
                for clip in frames
            ]
        )


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 cannot convert batch norms to ONNX")
def test_whole_frames_go_into_onnx(videonl: Videonl, shallow: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "net.onnx"
    done = videonl("export", "--checkpoint", shallow, "--format", "onnx", "--out", path, *WHOLE)
    assert done.code == 0, done.text
    assert "frames (any number, 5, 41, 53, 3) to 2 logits" in done.text
    frames = torch.randint(0, 256, (3, 5, 41, 53, 3), dtype=torch.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(["logits"], {"frames": frames.numpy()})[0])
    expected = expected_of(shallow, frames)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_cropped_frames_go_into_torch_export(videonl: Videonl, shallow: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    words = ["--format", "torch-export", "--out", path, "--with_preprocessing"]
    assert videonl("export", "--checkpoint", shallow, *words).code == 0
    frames = torch.randint(0, 256, (3, 5, 31, 31, 3), dtype=torch.uint8)
    model = package.load(shallow, device="cpu")
    with torch.inference_mode():
        expected = model.network(model.recognizer.inputs(frames.permute(0, 4, 1, 2, 3)))
        found = torch.export.load(path).module()(frames)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("words", [WHOLE[1:], WHOLE[:3]])
def test_a_size_that_is_half_said_is_refused(videonl: Videonl, shallow: Path, tmp_path: Path, words: list[str]) -> None:
    refused = videonl("export", "--checkpoint", shallow, "--format", "onnx", "--out", tmp_path / "a.onnx", *words)
    assert refused.code == 2
    assert "go together, with --with_preprocessing" in refused.text
    assert not any(tmp_path.iterdir())
