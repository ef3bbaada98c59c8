"""Every experiment that is shipped trains two steps through the command line: its parser, trainer, callbacks and all.

Those that are put together from parts of others alone do so among the slow tests; test_shipped.py builds all of them.
Shrunk to what a test can wait for: narrow, with small clips, one process and no weights to download.
"""

from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest
import torch
import yaml

from videonl.backbones import BACKBONES
from videonl.cli.configuration import load, merge, shipped_configs
from videonl.cli.main import main
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic

CONFIGS = shipped_configs()
LAID_OVER_OTHERS = {"own_clips.yaml": "nonlocal.yaml"}
EXPERIMENTS = sorted(str(path.relative_to(CONFIGS)) for path in (CONFIGS / "experiment").rglob("*.yaml"))


def parts_of(experiment: str) -> set[str]:
    """What an experiment is put together from: files, settings that it makes itself, and options of blocks.

    Which block it is, is no part: tests/blocks trains each of them.
    """
    parts: set[str] = set()

    def note(path: Path, own: dict) -> None:
        if path.parent.parent == CONFIGS:
            parts.add(str(path))
        parts.update(keys_of(own))
        for insertion in own.get("model", {}).get("network", {}).get("init_args", {}).get("blocks", []):
            parts.update(f"{name}: {value}" for name, value in (insertion.get("options") or {}).items())

    load(CONFIGS / experiment, visit=note)
    return parts


def keys_of(values: dict, above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{above}.{key}"
        if isinstance(value, dict):
            yield from keys_of(value, f"{above}.{key}")


def marked() -> Iterator[object]:
    """The experiments; those whose every part is one of others, too, are slow."""
    parts = {experiment: parts_of(experiment) for experiment in EXPERIMENTS}
    chosen, left = set(), set().union(*parts.values())
    while left:
        richest = max(EXPERIMENTS, key=lambda experiment: len(parts[experiment] & left))
        chosen.add(richest)
        left -= parts[richest]
    for experiment in EXPERIMENTS:
        yield experiment if experiment in chosen else pytest.param(experiment, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    write_synthetic(folder, SyntheticSettings(num_train=6, num_val=2, num_test=2, size_px=34, num_frames=5))
    return folder


def shrunk(config: dict, clips: Path, run: Path) -> dict:
    """What a test changes about an experiment."""
    # Strides in time take 7 frames at least, and groups of 4 need two groups after a sixteenth of the frames.
    num_frames = min(config["data"]["clip"]["num_frames"], 16)
    small = {
        "trainer": {
            **{"devices": 1, "accelerator": "cpu", "strategy": "auto", "precision": "32-true"},
            **{"max_steps": 2, "enable_progress_bar": False, "num_sanity_val_steps": 0},
            **{"check_val_every_n_epoch": 1, "log_every_n_steps": 1},
        },
        "model": {"weights": None, "network": {"init_args": narrow(config)}},
        "data": {
            **{"root": None, "train": str(clips / "train"), "val": str(clips / "val"), "test": None},
            "clip": {"num_frames": num_frames, "short_side_px": 33, "crop_px": 32},
            "augmentation": {"short_side_px": [33, 37]},
            "test_views": {"crop_px": None},
            "loading": {"batch_size": 3, "num_workers": 0},
        },
        "run": {"dir": str(run), "wandb": "disabled", "keep_memory": False},
    }
    return merge(config, small)


def narrow(config: dict) -> dict:
    """The least width of the backbone, if it has one."""
    backbone = config["model"]["network"]["init_args"]["backbone"]
    if "width" not in signature(BACKBONES[backbone]).parameters:
        return {}
    return {"width": 8 if backbone.startswith("slowfast") else 4}  # the fast pathway has an eighth of the channels


@pytest.mark.parametrize("experiment", list(marked()))
def test_experiment_trains(experiment: str, clips: Path, tmp_path: Path) -> None:
    config = load(CONFIGS / experiment)
    if base := LAID_OVER_OTHERS.get(Path(experiment).name):
        config = merge(load((CONFIGS / experiment).with_name(base)), config)
    path, run = tmp_path / "config.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(shrunk(config, clips, run)))
    assert main(["fit", "--config", str(path)]) == 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    moved = {name for name, value in checkpoint["optimizer_states"][0]["state"].items() if value}
    assert moved
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
