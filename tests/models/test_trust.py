"""A checkpoint can name known builders of networks, and nothing that loads, downloads or runs something else."""

import importlib
import os
import pickle
import pkgutil
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.backbones import build_backbone
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models.checkpoints import load_trained
from videonl.models.trust import BUILDERS, loading_option, require_harmless

WATCHED = ("socket.", "urllib.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class")
events: list[str] = []
watching = False


def notice(event: str, arguments: tuple[Any, ...]) -> None:
    # Also any file that is opened under the name of the attack's.
    if watching and (event.startswith(WATCHED) or (event == "open" and "evil" in str(arguments[0]))):
        events.append(f"{event}: {arguments}")


sys.addaudithook(notice)


@contextmanager
def watch() -> Iterator[list[str]]:
    """The downloads, unpickling and commands of the block, as the interpreter itself reports them."""
    global watching
    events.clear()
    watching = True
    try:
        yield events
    finally:
        watching = False


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def second_file(tmp_path: Path) -> Path:
    """What an attacker has a builder load."""
    path = tmp_path / "evil.pyth"
    path.write_bytes(pickle.dumps({"model_state": Malicious(tmp_path / "trace")}))
    return path


def hostile_options(file: Path) -> list[dict[str, Any]]:
    url = {"checkpoint_path": file.as_uri(), "pretrained": True}
    return [
        {**url, "num_classes_argument": "model_num_class"},
        {**url, "num_classes_argument": "num_classes"},
        {"num_classes_argument": "pretrained"},
        {"weights": "DEFAULT", "num_classes_argument": "num_classes"},
        {"weights": "KINETICS400_V1", "progress": False},
        {"num_classes_argument": "weights"},
        {"path": str(file), "num_classes_argument": "mode"},
        {"filename": str(file), "root": str(file.parent), "download": True, "num_classes_argument": "n"},
        {"args": [["touch", str(file.parent / "trace")]], "num_classes_argument": "shell"},  # for other callables
    ]


def all_callables() -> list[str]:
    """The dotted path of everything in torchvision and pytorchvideo that can be imported and called."""
    import pytorchvideo
    import torchvision

    paths = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in (torchvision, pytorchvideo):
            for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None):
                try:
                    module = importlib.import_module(found.name)
                except (ImportError, OSError):  # extensions, and what was written for older versions of torchvision
                    continue
                paths += [f"{found.name}.{name}" for name, value in vars(module).items() if callable(value)]
    return [path for path in paths if "__" not in path]


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Has ``load_trained`` refuse a checkpoint with these settings of its network, and returns the message."""

    def load(settings: dict[str, Any]) -> str:
        network = {"num_classes": 1, "blocks": [], "width": None, "dropout": None, **settings}
        about = {"network": network, "class_names": ["run"], "clip": asdict(ClipFormat())}
        torch.save({"state_dict": {}, "videonl": about}, tmp_path / "stranger.ckpt")
        with watch() as happened, pytest.raises(UserError) as caught:
            load_trained(tmp_path / "stranger.ckpt")
        assert happened == []
        return str(caught.value)

    return load


def test_no_callable_can_be_had_to_load(
    refused: Callable[[dict[str, Any]], str], second_file: Path, tmp_path: Path
) -> None:
    callables = all_callables()
    assert len(callables) > 3000
    assert set(callables) >= BUILDERS
    every = hostile_options(second_file)
    for path in callables:
        for options in every[: -1 if path in BUILDERS else None]:
            with pytest.raises(UserError, match="--trust-code"):
                require_harmless("stranger.ckpt", {"backbone": path, "backbone_options": options})
    for number, path in enumerate([*sorted(BUILDERS), *callables[::29]]):  # from a file too
        assert "--trust-code" in refused({"backbone": path, "backbone_options": every[number % (len(every) - 1)]})
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "torch.hub.load",
        "builtins.eval",
        "videonl.cli.main.main",
        "my_block.Net",
        "torchvision.models_of_mine.build",
    ],
)
def test_other_packages_are_refused_unimported(refused: Callable[[dict[str, Any]], str], path: str) -> None:
    assert path in refused({"backbone": path, "backbone_options": {}})


def test_blocks_are_those_of_ours(refused: Callable[[dict[str, Any]], str]) -> None:
    block = {"block": "os.mkdir", "after": {"res2": [0]}, "options": {}}
    assert "os.mkdir" in refused({"backbone": "c2d_r50", "blocks": [block]})


def test_the_attack_itself_is_sound(second_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    options = {"checkpoint_path": second_file.as_uri(), "pretrained": True}
    with watch() as happened, pytest.raises(RuntimeError, match="magic number"):
        build_backbone("pytorchvideo.models.hub.x3d._x3d", 1, {**options, "num_classes_argument": "model_num_class"})
    assert any("evil" in event for event in happened)  # it was downloaded
    assert (tmp_path / "trace").exists()  # and unpickled


@pytest.mark.parametrize("value", [OrderedDict, torch.float16, torch.ones(3), {3: 5}, {"a": [OrderedDict(a=1)]}, b"x"])
def test_options_are_plain_data(refused: Callable[[dict[str, Any]], str], value: object) -> None:
    told = refused({"backbone": "pytorchvideo.models.x3d.create_x3d", "backbone_options": {"norm": value}})
    assert "not plain data" in told


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": 7},
        {"backbone": "c2d_r50", "backbone_options": [1]},
        {"backbone": "c2d_r50", "no_such": 1},
        {"backbone": "c2d_r50", "blocks": 3},
        {"backbone": "c2d_r50", "width": "wide"},
        {"backbone": "pytorchvideo.models.x3d.create_x3d", "backbone_options": {"norm": "os.system"}},
        {"backbone": "pytorchvideo.models.x3d.create_x3d", "backbone_options": {"no_such": 1}},
    ],
)
def test_nonsense_is_refused_in_words(refused: Callable[[dict[str, Any]], str], settings: dict[str, Any]) -> None:
    refused(settings)


def test_builders_with_plain_options_need_no_trust() -> None:
    assert loading_option({"weights": None, "pretrained": False, "num_classes_argument": "head_num_classes"}) is None
    assert loading_option({"droppath_rate_block": 0.1, "stage_conv_b_width_per_group": 1, "stem_dim_out": 8}) is None
