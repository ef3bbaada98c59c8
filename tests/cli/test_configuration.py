"""Configuration files that extend others."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from videonl.cli.configuration import expand, load, run_folder, shipped_configs
from videonl.cli.main import main
from videonl.errors import UserError


def test_own_values_win_and_lists_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("a: {x: 1, y: [1, 2]}\nb: 3\n")
    (tmp_path / "other.yaml").write_text("b: 5\n")
    (tmp_path / "own.yaml").write_text("extends: [base.yaml, other.yaml]\na: {y: [7]}\n")
    assert load(tmp_path / "own.yaml") == {"a": {"x": 1, "y": [7]}, "b": 5}


def test_bases_are_found_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text("a: 1\n")
    (tmp_path / "deep" / "own.yaml").write_text("extends: ../base.yaml\n")
    monkeypatch.chdir("/")
    assert load(tmp_path / "deep" / "own.yaml") == {"a": 1}


def test_an_own_config_extends_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("extends: model/i3d_r50.yaml\nseed_everything: 7\n")
    config = load(tmp_path / "own.yaml")
    assert config["seed_everything"] == 7
    assert config["model"]["network"]["init_args"] == {"backbone": "i3d_r50"}


@pytest.mark.parametrize("words", [["--config", "{}"], ["-c", "{}"], ["--config={}"]])
def test_every_way_to_name_a_config_is_expanded(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "base.yaml").write_text("a: 1\n")
    (tmp_path / "own.yaml").write_text("extends: base.yaml\nb: 2\n")
    expanded = expand([*(word.format(tmp_path / "own.yaml") for word in words), "--x", "--config.y"])
    assert yaml.safe_load(expanded[-3].removeprefix("--config=")) == {"a": 1, "b": 2}
    assert expanded[-2:] == ["--x", "--config.y"]


def test_shipped_configs_are_found_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    expanded = expand(["--config", "experiment/demo/nonlocal.yaml"])
    assert (
        yaml.safe_load(expanded[0].removeprefix("--config="))["model"]["network"]["init_args"]["backbone"] == "c2d_r50"
    )
    assert (shipped_configs() / "base.yaml").is_file()


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (["experiment/kinetics400/i3d_r50_8x8.yaml"], "runs/kinetics400/i3d_r50_8x8"),
        (["experiment/folders.yaml", "laid_over.yaml"], "runs/folders"),
        (["experiment/folders.yaml", "own/my.experiment.yaml", "laid_over.yaml"], "runs/my.experiment"),
        (["experiment/demo/nonlocal.yaml", "experiment/demo/own_clips.yaml"], "runs/demo/nonlocal"),
        (["experiment/my/own.yaml", "laid_over.yaml"], "runs/my/own"),
        (["laid_over.yaml", "experiment.yaml"], "runs/laid_over"),
        (["experiment/experiment.yaml"], "runs/experiment"),
        ([], None),
    ],
)
def test_the_run_s_folder_follows_from_the_experiment_s_path(
    files: list[str], folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("own/my.experiment.yaml", "experiment/my/own.yaml", "experiment/experiment.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("extends: experiment/folders.yaml\n")
    for name in ("laid_over.yaml", "experiment.yaml"):
        (tmp_path / name).write_text("seed_everything: 7\n")
    monkeypatch.chdir(tmp_path)
    assert run_folder([f"--config={file}" for file in files]) == folder


@pytest.mark.parametrize(
    ("text", "words", "folder"),
    [
        ("", [], "runs/a 'b'"),
        ("run: {project: mine}\n", [], "runs/a 'b'"),
        ("run: {dir: elsewhere}\n", [], "elsewhere"),
        ("run: {dir: elsewhere}\n", ["--run.dir", "here"], "here"),
    ],
)
def test_a_folder_that_is_given_wins(
    text: str, words: list[str], folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "a 'b'.yaml"
    own.write_text(f"extends: experiment/folders.yaml\n{text}")
    for command in ("fit", "test"):
        with pytest.raises(SystemExit):
            main([command, "--config", str(own), *words, "--print_config"])
        assert yaml.safe_load(capsys.readouterr().out)["run"]["dir"] == folder


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("extends: 3\n", "extends must name a file, or be a list of files, got 3"),
        ("extends: [base.yaml, 3]\n", "extends must name a file, or be a list of files"),
        ("trainer: 3\n", "trainer must be a mapping of keys, got 3"),
        ("3: 4\n", "must be a mapping of keys to values"),
        ("- a\n", "must be a mapping of keys to values"),
        ("a: &a [*a]\n", "has inf values, more than the 100,000 allowed"),
        ("".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}' if n else 'x'] * 9)}]\n" for n in range(19)), "more than the"),
        ("[" * 5000, "is not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
    ],
    ids=["extends", "list", "trainer", "keys", "sequence", "itself", "bomb", "depth", "code"],
)
def test_what_is_no_configuration_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(told)) as refusal:
        load(tmp_path / "own.yaml")
    assert str(tmp_path / "own.yaml") in str(refusal.value)


def test_options_win_over_files_wherever_they_stand(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"seed_everything: {name}\n")
    words = ["--x", "1", "--config", str(tmp_path / "a.yaml"), "--y=2", f"-c={tmp_path / 'b.yaml'}"]
    expanded = expand(words)
    assert [yaml.safe_load(word.removeprefix("--config="))["seed_everything"] for word in expanded[:2]] == ["a", "b"]
    assert expanded[2:] == ["--x", "1", "--y=2"]


def test_an_option_that_a_later_one_would_override_as_a_whole_is_refused() -> None:
    with pytest.raises(UserError, match=r"--model stands after --model.weights and would override it"):
        expand(["--model.weights", "a", "--model", "b.yaml"])
    with pytest.raises(UserError, match="--config needs the path of a configuration"):
        expand(["--x", "--config"])


def test_a_rate_before_the_file_trains(videonl: Callable[..., Any], small_config: Path) -> None:
    shown = videonl("fit", "--model.optimization.lr", 0.5, "--config", small_config, "--print_config")
    assert shown.code == 0
    assert " lr: 0.5 " in shown.text


@pytest.mark.parametrize("setting", ["model.optimization.lr", "data.clip"])
def test_a_setting_without_a_value_is_refused(videonl: Any, small_config: Path, tmp_path: Path, setting: str) -> None:
    text = ""
    for place, key in enumerate(setting.split(".")):
        text += f"{2 * place * ' '}{key}:\n"
    (tmp_path / "empty.yaml").write_text(f"extends: {small_config}\n{text}")
    refused = videonl("summary", "--config", tmp_path / "empty.yaml")
    assert (refused.code, f"{setting} must have a value, but is null" in refused.text) == (2, True), refused.text


def test_keys_given_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("run: {dir: a}\ndata: {root: b}\nrun: {wandb: disabled}\n")
    with pytest.raises(UserError, match=r"twice\.yaml: run is given twice; rename or remove one"):
        load(tmp_path / "twice.yaml")
