"""What the Kinetics-400 recipes say and set, against the published tables and the papers' arithmetic."""

from typing import Any

import pytest
import torch

from videonl.cli.configuration import load, run_folder, shipped_configs
from videonl.models import ClipClassifier

KINETICS = shipped_configs() / "experiment" / "kinetics400"
NAMES = sorted(path.stem for path in KINETICS.glob("*.yaml"))

# Top-1 and top-5 on the validation videos: the code of arXiv:1711.07971; GCNet's table; re-implementations, top-1.
PUBLISHED = {
    "c2d_r50_8x8": "71.9 / 90.0",
    "c2d_r50_32x2": "72.0 / 90.0",
    "c2d_r50_nl5_8x8": "74.4 / 91.4",
    "c2d_r50_nl5_32x2": "73.9 / 91.0",
    "i3d_r50_8x8": "73.4 / 90.9",
    "i3d_r50_32x2": "73.6 / 90.8",
    "i3d_r50_32x4": "75.5 / 92.0",
    "i3d_r50_128x1": "75.2 / 92.0",
    "i3d_r50_nl5_8x8": "74.7 / 91.6",
    "i3d_r50_nl5_32x2": "74.9 / 91.6",
    "i3d_r50_nl5_32x4": "76.5 / 92.6",
    "i3d_r50_nl5_128x1": "76.5 / 92.7",
    "slow_r50_8x8": "74.94 / 91.90",
    "slow_r50_nl5_8x8": "75.95 / 92.29",
    "slow_r50_snl5_8x8": "75.76 / 92.44",
    "slow_r50_gc5_8x8": "75.85 / 92.25",
    "slow_r50_gc_all_8x8": "76.00 / 92.34",
    "i3d_r50_dot_product5_32x2": "74.80",
    "i3d_r50_gaussian5_32x2": "73.97",
    "c2d_r50_scratch_8x8": "71.46",
    "i3d_r50_scratch_8x8": "73.27",
    "slow_r50_scratch_8x8": "74.58",
    "slowfast_r50_multigrid_32x2": "76.6 / 92.7",
}
# Millions of parameters with 400 classes: 24.33, 28.04 and 32.45, and 7.36 for five blocks; GCNet's table.
PARAMETERS = {
    "c2d_r50_8x8": 24.33,
    "c2d_r50_nl5_8x8": 31.69,
    "i3d_r50_8x8": 28.04,
    "i3d_r50_nl5_32x2": 35.40,
    "slow_r50_8x8": 32.45,
    "slow_r50_nl5_8x8": 39.81,
    "slow_r50_snl5_8x8": 36.13,
    "slow_r50_gc5_8x8": 34.30,
    "slow_r50_gc_all_8x8": 42.45,
}


def config_of(name: str) -> dict[str, Any]:
    return load(KINETICS / f"{name}.yaml")


def folder_of(name: str) -> str | None:
    return run_folder(["--config", f"experiment/kinetics400/{name}.yaml"])


def comment_of(name: str) -> str:
    lines = (KINETICS / f"{name}.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


@pytest.mark.parametrize("name", NAMES)
def test_comment_states_the_published_figure(name: str) -> None:
    comment = comment_of(name)
    assert f"Aims at {PUBLISHED[name]} %" in comment
    assert comment.count("%") == 1
    assert any(source in comment for source in ("1711.07971", "1904.11492", "mmaction2", "pytorchvideo", "PySlowFast"))


def test_recipes_are_those_with_a_published_figure() -> None:
    assert PUBLISHED.keys() == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_steps_and_rate_are_the_papers(name: str) -> None:
    config = config_of(name)
    trainer, optimization = config["trainer"], config["model"]["optimization"]
    clips = config["data"]["loading"]["batch_size"] * trainer["devices"]
    is_long = name.endswith(("32x4", "128x1"))
    assert clips == optimization["lr_per_clips"] == (16 if is_long else 64)
    assert (trainer["devices"], trainer["strategy"], trainer["precision"]) == (8, "ddp", "16-mixed")
    if "scratch" in name:
        assert (optimization["lr"], trainer["max_epochs"]) == (0.1, 196)
        assert round(196 * optimization["warmup_fraction"]) == 34
        assert "weights" not in config["model"]
    elif "multigrid" in name:
        assert (optimization["lr"], "weights" in config["model"]) == (0.1, False)
        require_multigrid_of_the_paper(config)
    else:
        assert optimization["lr"] == (0.0025 if is_long else 0.01)
        assert [round(400_000 * fraction) for fraction in optimization["milestone_fractions"]] == [150_000, 300_000]
        assert trainer["max_steps"] == 400_000


def require_multigrid_of_the_paper(config: dict[str, Any]) -> None:
    """PySlowFast's: rates change after 94, 154 and 196 of 239 epochs; multigrid shows each video 1.5 times as often.

    Its last rate begins in the middle of the last phase, where it goes on with the short cycle and we do not.
    """
    trainer, optimization, multigrid = config["trainer"], config["model"]["optimization"], config["data"]["multigrid"]
    assert [round(239 * end) for end in multigrid["cycle_ends"]] == [94, 154, 196]
    assert [round(239 * fraction, 1) for fraction in optimization["milestone_fractions"]] == [94.0, 154.0, 217.5]
    in_cycles, last = (32 + 16 + 14 + 7) / 12, 7 / 3  # clips for one of a full-size batch, on average
    share = multigrid["cycle_ends"][-1]
    assert trainer["max_epochs"] == round(1.5 * 239 / (share * in_cycles + (1 - share) * last))
    assert round(trainer["max_epochs"] * optimization["warmup_fraction"] * 32 / 3) == 34
    assert round(trainer["max_epochs"] * (share * in_cycles + 1 - share)) == 343


@pytest.mark.parametrize("name", NAMES)
def test_clips_are_those_of_the_name(name: str) -> None:
    clip = config_of(name)["data"]["clip"]
    assert f"{clip['num_frames']}x{clip['stride_frames']}" == name.rpartition("_")[2]


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_inflated_or_those_of_the_shorter_clips(name: str) -> None:
    weights = config_of(name)["model"].get("weights")
    if name.endswith(("32x4", "128x1")):
        short = f"{name.rpartition('_')[0]}_32x2"
        assert weights == f"{folder_of(short)}/checkpoints/last.ckpt"
        assert config_of(name)["model"]["network"]["init_args"]["batch_norm"] == "affine"
    elif "scratch" not in name and "multigrid" not in name:
        assert weights == f"imagenet/resnet{101 if 'r101' in name else 50}"


def test_runs_do_not_share_folders() -> None:
    assert {folder_of(name) for name in NAMES} == {f"runs/kinetics400/{name}" for name in NAMES}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_networks_have_the_published_parameters(name: str) -> None:
    settings = config_of(name)["model"]["network"]["init_args"]
    with torch.device("meta"):
        network = ClipClassifier.from_settings({"blocks": [], **settings, "num_classes": 400})
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(PARAMETERS[name], abs=0.01)
