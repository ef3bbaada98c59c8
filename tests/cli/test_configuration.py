"""Configuration files that extend others."""

from pathlib import Path

import pytest
import yaml

from videonl.cli.configuration import expand, load, shipped_configs


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
    assert yaml.safe_load(expanded[1])["model"]["network"]["init_args"]["backbone"] == "c2d_r50"
    assert (shipped_configs() / "base.yaml").is_file()
