"""Every command takes the same road from a clip to its logits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from videonl.data.dataset import read_views
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import Video
from videonl.inference import Recognizer
from videonl.models import ClipClassifier, execution
from videonl.models.checkpoints import load_trained


@pytest.fixture
def logits(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What networks in evaluation mode return for single clips."""
    seen: list[Tensor] = []
    forward = ClipClassifier.forward

    def noted(network: ClipClassifier, clip: Tensor) -> Tensor:
        returned = forward(network, clip)
        is_probe = clip.device.type == "meta" or isinstance(clip, FakeTensor) or not clip.any()
        if not is_probe and len(clip) == 1 and not network.training:
            seen.append(returned.detach().clone())
        return returned

    monkeypatch.setattr(ClipClassifier, "forward", noted)
    return seen


def test_commands_give_the_same_logits_of_a_video_to_the_bit(
    videonl: Callable[..., Any],
    trained: Path,
    small_config: Path,
    clips: Path,
    tmp_path: Path,
    logits: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video, checkpoint = next((clips / "test").glob("*/*.mp4")), trained / "checkpoints" / "best.ckpt"
    (tmp_path / "one.csv").write_text(f"path,label\n{video},{video.parent.name}\n")
    loaded = load_trained(checkpoint)
    recognizer = Recognizer(loaded.network, ClipFormat(**loaded.clip))
    expected = recognizer.logits(read_views(Video(video, 0), recognizer.clip, Views()))
    one = tmp_path / "one.csv"
    views = ["--data.test_views.num_clips", "1", "--data.test_views.num_crops", "1"]
    run = ["--config", small_config, "--data.val", one, "--data.test", one, *views, "--run.dir"]
    with_checkpoint = ["--checkpoint", checkpoint, "--out", tmp_path / "out"]
    alone = ["--num_workers", "0", "--device", "cpu"]
    commands: list[list[object]] = [
        # The validation before the first step has the weights as they were loaded.
        ["fit", *run, tmp_path / "fit", "--model.weights", checkpoint, "--trainer.num_sanity_val_steps", "1"],
        ["validate", *run, tmp_path / "validate", "--ckpt_path", checkpoint],
        ["test", *run, tmp_path / "test", "--ckpt_path", checkpoint],
        ["predict", *run, tmp_path / "predict", "--ckpt_path", checkpoint],
        ["evaluate", *with_checkpoint, "--source", one, "--num_clips", "1", "--num_crops", "1", *alone],
        ["predict", "--checkpoint", checkpoint, "--video", video, "--num_clips", "1", "--num_crops", "1"],
        ["diagnose", *with_checkpoint, "--source", one, "--num_clips", "1", *alone],
        ["attention", *with_checkpoint, "--video", video, "--film", "none"],
    ]
    kept: list[str] = []
    monkeypatch.setattr(execution, "keep_freed_memory", lambda: kept.append(words[0]))
    for words in commands:
        logits.clear()
        ran = videonl(*words)
        assert ran.code == 0, ran.text
        assert torch.equal(logits[0], expected), words[0]
    assert kept == ["evaluate", "predict", "diagnose"]  # those of a configuration ask run.py for it
