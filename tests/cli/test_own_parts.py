"""docs/extend.md, done as it says: parts of one's own in a folder outside the package, through every command."""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS
from videonl.data.sampling import SAMPLINGS
from videonl.data.sources.own import SOURCES

Videonl = Callable[..., tuple[int, str]]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "extend.md"
FILES = dict(re.findall(r'```\w+ title="([\w.]+)"\n(.*?)```', PAGE.read_text(), re.DOTALL))
MODULES = [name.removesuffix(".py") for name in FILES if name.endswith(".py")]
COMMANDS = [
    line.partition("  #")[0].removeprefix("videonl ").strip()
    for text in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for line in text.splitlines()
    if line.startswith("videonl ")
]
REGISTRIES = (BLOCKS, BACKBONES, SAMPLINGS, SOURCES)
BLOCK = "{network: {init_args: {blocks: [{block: BLOCK, after: {res3: [0]}, options: {temperature: 2.0}}]}}}"


@pytest.fixture
def folder(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page, with its configuration on the smallest of trainings."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "CLIPS").symlink_to(clips)
    (tmp_path / "clip.mp4").symlink_to(next((clips / "val").rglob("*.mp4")))
    monkeypatch.chdir(tmp_path)
    finders, known = list(sys.meta_path), [(dict(registry), set(registry._own)) for registry in REGISTRIES]
    yield tmp_path
    sys.meta_path[:] = finders
    for registry, (parts, own) in zip(REGISTRIES, known, strict=True):
        registry.clear()
        registry.update(parts)
        registry._own = own
    for name in MODULES:
        sys.modules.pop(name, None)


def configured(folder: Path, small: Path, text: str, name: str = "own.yaml") -> Path:
    """A configuration in the folder that extends the small training's."""
    (folder / name).write_text(f"extends: {small}\n{text}\n")
    return folder / name


def test_the_page_holds_a_block_of_25_lines_and_its_commands() -> None:
    body = FILES["my_block.py"].partition("@videonl")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 25
    words = {command.split()[0] for command in COMMANDS}
    assert words >= {"models", "summary", "fit", "attention", "diagnose", "evaluate", "export"}


@pytest.mark.slow
def test_every_command_of_the_page(
    videonl: Videonl, folder: Path, small_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = yaml.safe_load(FILES["experiment.yaml"])
    own["model"]["network"]["init_args"]["blocks"][0]["after"] = {"res3": [0]}
    own["extends"] = str(small_config)  # in place of experiment/folders.yaml, which trains for hours
    (folder / "experiment.yaml").write_text(yaml.safe_dump(own))
    for command in COMMANDS:
        words = shlex.split(command)
        if "--checkpoint" in words:  # a checkpoint has no configuration to look beside
            monkeypatch.syspath_prepend(folder)
            untrusted = [word for word in words if word != "--trust-code"]
            code, text = videonl(*untrusted)
            assert (code, "--trust-code" in text, "my_block.FrameContext" in text) == (2, True, True), command
        code, text = videonl(*words)
        assert code == 0, f"{command}: {text}"
    stored = torch.load("runs/own/checkpoints/best.ckpt", weights_only=True)["videonl"]["network"]["blocks"]
    assert [(block["block"], block["options"]) for block in stored] == [("my_block.FrameContext", {"temperature": 2.0})]
    assert Path("own.pt2").is_file()


def test_models_lists_own_parts_with_their_options(videonl: Videonl, folder: Path) -> None:
    code, text = videonl("models", "--module", "my_block", "--json")
    assert code == 0, text
    told = json.loads(text[text.index("{") :])
    assert {name: block["options"] for name, block in told["blocks"].items()} == {"frame_context": {"temperature": 1.0}}
    code, text = videonl("models", "--module", "my_net", "--json")
    assert code == 0, text
    told = json.loads(text[text.index("{") :])
    assert {name: backbone["options"] for name, backbone in told["backbones"].items()} == {"tiny": {"width": 16}}
    code, text = videonl("models", "--module", "no_such_module_41")
    assert (code, "'no_such_module_41' cannot be imported" in text) == (2, True)


def test_short_names_work_once_their_module_is_imported(videonl: Videonl, folder: Path, small_config: Path) -> None:
    named = configured(folder, small_config, f"imports: [my_block]\nmodel: {BLOCK.replace('BLOCK', 'frame_context')}")
    code, text = videonl("summary", "--config", named)
    assert (code, "imports my_block" in text, "--trust-code" in text) == (2, True, True), text
    assert "my_block" not in sys.modules
    code, text = videonl("summary", "--config", named, "--trust-code")
    assert (code, "res3.0" in text) == (0, True), text


def test_options_of_own_parts_are_checked(videonl: Videonl, folder: Path, small_config: Path) -> None:
    block = BLOCK.replace("BLOCK", "my_block.FrameContext").replace("temperature", "temprature")
    code, text = videonl("summary", "--config", configured(folder, small_config, f"model: {block}"), "--trust-code")
    assert code == 2 and "unknown option 'temprature'" in text and "its options are: temperature" in text


def test_an_own_backbone_sampling_and_source_train_in_workers(
    videonl: Videonl, folder: Path, small_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
imports: [my_net, my_sampling, my_source]
model: {network: {init_args: {backbone: tiny, width: null, dropout: null, backbone_options: {width: 5},
  stages: {res: [res]}, blocks: [{block: nonlocal, after: [res]}]}}}
data: {train: "python:my_source.read:CLIPS#train", val: "python:by_folder:CLIPS#val", test: null, root: null,
  clip: {sampling: early}, loading: {num_workers: 1}}
"""
    plain = configured(folder, small_config, "model: {network: {init_args: {backbone_options: null}}}", "plain.yaml")
    own = configured(folder, plain, text)
    run = ["--run.dir", folder / "runs" / "all"]
    code, said = videonl("fit", "--config", own, *run)
    assert code == 0, said
    kept = yaml.safe_load((folder / "runs" / "all" / "config.yaml").read_text())
    assert kept["data"]["clip"]["sampling"] == "my_sampling.early"
    assert kept["model"]["network"]["init_args"]["backbone"] == "my_net.TinyNet"
    checkpoint = folder / "runs" / "all" / "checkpoints" / "best.ckpt"
    about = torch.load(checkpoint, weights_only=True)["videonl"]
    assert (about["network"]["backbone"], about["clip"]["sampling"]) == ("my_net.TinyNet", "my_sampling.early")

    about["network"]["backbone"] = "i3d_r50"  # leaves the sampling alone to be refused
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "videonl": about}, folder / "foreign.ckpt")
    code, said = videonl("predict", "--video", folder / "clip.mp4", "--checkpoint", folder / "foreign.ckpt")
    assert (code, "samples its clips with my_sampling.early" in said, "--trust-code" in said) == (2, True, True), said
    monkeypatch.syspath_prepend(folder)
    code, said = videonl("predict", "--video", folder / "clip.mp4", "--checkpoint", checkpoint, "--trust-code")
    assert code == 0, said


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        ("data: {clip: {sampling: my_sampling.early}}", "samples its clips with my_sampling.early"),
        ("data: {clip: {sampling: torch.hub.load}}", "samples its clips with torch.hub.load"),
        ('data: {train: "python:os.system:ls"}', "lists its videos with python:os.system:ls"),
        ("imports: [antigravity]", "imports antigravity"),
    ],
)
def test_a_foreign_configuration_runs_none_of_them(
    videonl: Videonl, folder: Path, small_config: Path, hidden: str, told: str
) -> None:
    code, text = videonl("summary", "--config", configured(folder, small_config, hidden))
    assert (code, told in text, "--trust-code" in text) == (2, True, True), text
    assert not {"antigravity", *MODULES} & {*sys.modules}
