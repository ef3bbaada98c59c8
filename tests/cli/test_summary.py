"""``videonl summary`` and ``videonl models``: what they print, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS
from videonl.cli.main import main

NL5 = "experiment/kinetics400/i3d_r50_nl5_8x8.yaml"


def test_summary_of_a_configuration_without_its_data(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--config", NL5, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["backbone"], told["clip"], told["parameters"]) == ("i3d_r50", [8, 224, 224], 35_401_936)
    assert [part["block"] for part in told["parts"]].count("NonLocal") == 5
    assert told["macs"] == sum(part["macs"] for part in told["parts"])
    memory = told["memory_bytes"]
    assert memory["gradients"] == memory["optimizer"] == 4 * told["parameters"]
    assert memory["batch_size"] == 8 and memory["batch"] > 8 * memory["per_clip"]


def test_summary_takes_the_options_of_fit(videonl: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    options = ["--model.network.init_args.width", 16, "--data.clip.num_frames", 13, "--data.root", tmp_path / "none"]
    adamw = ["--model.optimization.optimizer", "adamw", "--trainer.precision", "32-true", "--num_classes", "7"]
    code, text = videonl("summary", "--config", NL5, *options, *adamw)
    assert code == 0
    assert "clips of 13 x 224 x 224" in text
    assert "NonLocal after res4.5" in text
    assert "adamw" in text and "for a batch of 8" in text
    assert not list(tmp_path.iterdir())


def test_summary_of_a_checkpoint(videonl: Callable[..., tuple[int, str]], trained: Path) -> None:
    code, text = videonl("summary", "--checkpoint", trained / "checkpoints" / "best.ckpt")
    assert code == 0
    assert "hara_r3d, clips of 5 x 31 x 31" in text
    assert "NonLocal after res3.0" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "experiment/no.yaml"], "experiment/no.yaml does not exist"),
        (["--config", NL5, "--model.network.init_args.backbone", "i3d_r49"], "unknown backbone 'i3d_r49'"),
        (["--config", NL5, "--model.network.class_path", "torch.nn.Identity"], "not torch.nn"),
        (["--config", NL5, "--num_classes", "0"], "--num_classes must be at least 1, got 0"),
        (["--checkpoint", "no.ckpt"], "no.ckpt does not exist"),
        (["--checkpoint", "no.ckpt", "--config", NL5], "remove --config"),
        (["--config", NL5, "--no_such", "1"], "no_such"),
    ],
)
def test_mistakes_are_named(videonl: Callable[..., tuple[int, str]], words: list[str], message: str) -> None:
    code, text = videonl("summary", *words)
    assert code == 2
    assert message in text
    assert "Traceback" not in text


def test_models_lists_every_backbone_and_block(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["backbones"].keys() == BACKBONES.keys() and told["blocks"].keys() == BLOCKS.keys()
    i3d = told["backbones"]["i3d_r50"]
    assert i3d["parameters"] == 28_043_472 and i3d["gmacs"] == pytest.approx(28.54, abs=0.005)
    assert i3d["clip"] == [8, 224, 224] and i3d["options"] == {
        "width": 64,
        "dropout": 0.5,
        "stride_profile": "short",
        "head": "mean",
    }
    assert told["blocks"]["se"] == {"options": {"ratio": 16}, "paper": "1709.01507", "reads_a_second_stage": False}
    assert all(block["paper"] for block in told["blocks"].values())


def test_models_prints_tables(videonl: Callable[..., tuple[int, str]]) -> None:
    code, text = videonl("models")
    assert code == 0
    assert all(name in text for name in [*BACKBONES, *BLOCKS])


def test_a_network_by_dotted_path_takes_blocks(videonl: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    config = tmp_path / "x3d.yaml"
    config.write_text(
        """
extends: experiment/kinetics400/i3d_r50_8x8.yaml
model:
  network:
    init_args:
      backbone: pytorchvideo.models.x3d.create_x3d
      backbone_options: {input_clip_length: 8, input_crop_size: 224, head_activation: null}
      stages: {res4: [blocks.3.res_blocks.0, blocks.3.res_blocks.1]}
      blocks:
        - {block: gc, after: [res4.1, blocks.4.res_blocks.0]}
"""
    )
    code, text = videonl("summary", "--config", config)
    assert code == 0
    assert "GC after res4.1" in text and "GC after blocks.4.res_blocks.0" in text
