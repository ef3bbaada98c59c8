"""Configurations name code: a foreign one runs none without being trusted, and one's own is found beside it."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

Videonl = Callable[..., tuple[int, str]]

NET = """
import pathlib
from torch import nn

pathlib.Path(__file__).with_name("RAN").touch()


class TinyNet(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 5, 3)
        self.fc = nn.Linear(5, num_classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean(dim=(2, 3, 4)))


def told(*arguments, **options):
    raise SystemExit("it ran")
"""
BACKBONE = """
model:
  network:
    init_args: {backbone: my_nets_31.TinyNet, backbone_options: null, width: null, dropout: null, blocks: []}
"""


@pytest.fixture
def folder(tmp_path: Path, small_config: Path) -> Iterator[Path]:
    """A configuration, tiny.yaml, and a module of networks beside it, which leaves a file RAN when it is imported."""
    (tmp_path / "my_nets_31.py").write_text(NET)
    (tmp_path / "tiny.yaml").write_text(f"extends: {small_config}\n{BACKBONE}\n")
    finders = list(sys.meta_path)
    yield tmp_path
    sys.meta_path[:] = finders
    sys.modules.pop("my_nets_31", None)


@pytest.mark.parametrize("command", ["summary", "validate", "test", "predict"])
def test_foreign_code_is_asked_about_and_not_run(videonl: Videonl, folder: Path, command: str) -> None:
    code, text = videonl(command, "--config", folder / "tiny.yaml")
    assert code == 2
    assert f"{folder / 'tiny.yaml'} builds its network with my_nets_31.TinyNet" in text
    assert "--trust-code" in text
    assert not (folder / "RAN").exists()


HIDDEN = {
    "class": "model: {network: {class_path: my_nets_31.TinyNet}}",
    "callback": "trainer: {callbacks: [{class_path: my_nets_31.told}]}",
    "argument": "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LambdaCallback, "
    "init_args: {on_fit_start: my_nets_31.told}}]}",
    "block": "model: {network: {init_args: {blocks: [{block: my_nets_31.TinyNet, after: [res2]}]}}}",
    "file": "model: {network: FOLDER/hidden.txt}",
    "loading": "model: {network: {init_args: {backbone: pytorchvideo.models.hub.x3d_s, blocks: [], "
    "backbone_options: {pretrained: true}}}}",
    "loader": "model: {network: {init_args: {backbone: torch.hub.load, blocks: [], "
    "backbone_options: {repo_or_dir: stranger/repo, num_classes_argument: model}}}}",
    "function of torch": "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LambdaCallback, init_args: "
    "{setup: {class_path: torch.hub.load, init_args: {repo_or_dir: FOLDER, model: net, source: local}}}}]}",
    "through torch": "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LambdaCallback, "
    "init_args: {on_fit_start: torch.os.system}}]}",
    "standard library": "trainer: {callbacks: [{class_path: os.system, init_args: {command: ls}}]}",
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
def test_code_is_found_wherever_it_is_named(videonl: Videonl, folder: Path, small_config: Path, hidden: str) -> None:
    (folder / "hidden.txt").write_text("class_path: my_nets_31.TinyNet\n")
    (folder / "foreign.yaml").write_text(f"extends: {small_config}\n{hidden.replace('FOLDER', str(folder))}\n")
    (folder / "outer.yaml").write_text("extends: foreign.yaml\n")
    code, text = videonl("summary", "--config", folder / "outer.yaml")
    assert (code, "--trust-code" in text) == (2, True)
    assert "Traceback" not in text
    assert not (folder / "RAN").exists()


def test_a_file_of_a_part_is_looked_into(videonl: Videonl, folder: Path, small_config: Path) -> None:
    (folder / "net.yaml").write_text("class_path: my_nets_31.TinyNet\n")
    for words in (["--model.network", folder / "net.yaml"], [f"--model.network={folder / 'net.yaml'}"]):
        code, text = videonl("summary", "--config", small_config, *words)
        assert (code, "net.yaml names my_nets_31.TinyNet" in text) == (2, True)


@pytest.mark.parametrize("flag", ["--trust-code", "--trust_code"])
def test_a_trusted_module_is_found_beside_its_configuration(videonl: Videonl, folder: Path, flag: str) -> None:
    code, text = videonl("summary", "--config", folder / "tiny.yaml", flag)
    assert code == 0, text
    assert "my_nets_31.TinyNet, clips of 5 x 31 x 31" in text
    assert "conv" in text and "fc" in text and "stem" not in text
    assert (folder / "RAN").exists()


def test_it_is_found_through_what_a_file_extends(videonl: Videonl, folder: Path) -> None:
    (folder / "experiments").mkdir()
    (folder / "experiments" / "longer.yaml").write_text("extends: ../tiny.yaml\ndata: {clip: {num_frames: 7}}\n")
    code, text = videonl("summary", "--config", folder / "experiments" / "longer.yaml", "--trust-code")
    assert (code, "clips of 7 x 31 x 31" in text) == (0, True), text


def test_own_networks_train_as_they_are_and_are_tested_when_trusted(videonl: Videonl, folder: Path) -> None:
    run = ["--run.dir", folder / "run"]
    code, text = videonl("fit", "--config", folder / "tiny.yaml", *run)
    assert code == 0, text
    code, text = videonl("test", "--config", folder / "tiny.yaml", *run, "--trust-code")
    assert code == 0, text
    assert "trust" not in (folder / "run" / "config.yaml").read_text()
    checkpoint = folder / "run" / "checkpoints" / "best.ckpt"
    code, text = videonl("summary", "--checkpoint", checkpoint)
    assert (code, "my_nets_31.TinyNet" in text, "--trust-code" in text) == (2, True, True)
    assert videonl("summary", "--checkpoint", checkpoint, "--trust-code")[0] == 0


def test_other_modules_beside_a_configuration_are_not_found(videonl: Videonl, folder: Path) -> None:
    (folder / "tensorboard.py").write_text("raise SystemExit('it ran')")
    (folder / "random.py").write_text("raise SystemExit('it ran')")
    code, text = videonl("summary", "--config", folder / "tiny.yaml", "--trust-code")
    assert code == 0, text
    with pytest.raises(ModuleNotFoundError):
        __import__("my_other_nets_31")


def test_a_module_that_is_nowhere_is_named_with_where_it_may_be(videonl: Videonl, folder: Path) -> None:
    (folder / "my_nets_31.py").unlink()
    code, text = videonl("summary", "--config", folder / "tiny.yaml", "--trust-code")
    assert code == 2
    assert "my_nets_31" in text and "beside the configuration" in text and "PYTHONPATH" in text


def test_a_configuration_cannot_trust_itself(videonl: Videonl, folder: Path) -> None:
    (folder / "bold.yaml").write_text("extends: tiny.yaml\ntrust_code: true\n")
    code, text = videonl("summary", "--config", folder / "bold.yaml")
    assert (code, "--trust-code" in text) == (2, True)


def test_no_configuration_has_a_checkpoint_run_code(videonl: Videonl, folder: Path, trained: Path) -> None:
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(folder / "trace"),)

    content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    torch.save({**content, "extra": Malicious()}, folder / "evil.ckpt")
    (folder / "bold.yaml").write_text(f"extends: {trained / 'config.yaml'}\nweights_only: false\n")
    code, text = videonl("test", "--config", folder / "bold.yaml", "--ckpt_path", folder / "evil.ckpt")
    assert (code, "holds code, which was not run" in text) == (2, True), text
    assert not (folder / "trace").exists()


def test_no_checkpoint_adds_to_the_configuration(
    videonl: Videonl, folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    hostile = {"network": {"class_path": "my_nets_31.TinyNet"}, "weights": "/etc/hostname"}
    torch.save({**content, "hyper_parameters": hostile}, folder / "evil.ckpt")
    words = ["--ckpt_path", folder / "evil.ckpt", "--run.dir", folder / "run"]
    monkeypatch.syspath_prepend(folder)
    code, text = videonl("test", "--config", trained / "config.yaml", *words)
    assert code == 0, text
    assert not (folder / "RAN").exists()
