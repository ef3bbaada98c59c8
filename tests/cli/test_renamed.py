"""Options are spelled with hyphens or underscores, and by the names that they had in version 0.1."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from videonl.cli.main import main


@pytest.mark.parametrize(
    ("words", "old", "new"),
    [
        (["evaluate", "--checkpoint", "no.ckpt", "--index", "x"], "--index", "--source"),
        (["evaluate", "--checkpoint", "no.ckpt", "--source=x", "--clips=3"], "--clips", "--num_clips"),
        (["evaluate", "--checkpoint=no.ckpt", "--source=x", "--time-limit-seconds", "7"], "--time_limit_seconds", None),
        (["diagnose", "--checkpoint", "no.ckpt", "--source", "x", "--queries", "7"], "--queries", "--num_queries"),
        (["index", "x", "--output", "x.parquet"], "--output", "--out"),
        (["index", "x", "--timeout-seconds", "7", "-o", "x.parquet"], "--timeout_seconds", "--time_limit"),
        (["prepare", "x", "x_prepared", "--timeout_seconds=7"], "--timeout_seconds", "--time_limit"),
    ],
)
def test_an_old_name_works_and_one_line_names_the_new_one(
    videonl: Callable[..., Any], words: list[str], old: str, new: str | None
) -> None:
    ran = videonl(*words)
    assert ran.code == 2
    assert "error: x: " in ran.text  # the options themselves were taken
    assert ran.text.count(f"{old} is named {new or '--time_limit'} now") == 1


def test_an_old_name_in_the_file_of_a_command_is_read(videonl: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("{checkpoint: no.ckpt, index: x, clips: 3}")
    told = videonl("evaluate", "--config", tmp_path / "own.yaml").text
    assert "x: no such f" in told
    for sentence in ("index is named source now", "clips is named num_clips now"):
        assert f"own.yaml: {sentence}" in told


@pytest.mark.parametrize("spelled", ["--run.save-every-steps=7", "--run.save_every_steps=7"])
def test_hyphens_and_underscores_are_alike_in_a_training(
    videonl: Callable[..., Any], capfd: pytest.CaptureFixture[str], spelled: str
) -> None:
    with pytest.raises(SystemExit):
        main(
            [
                "fit",
                "--config",
                "experiment/demo/nonlocal.yaml",
                "--data.loading.num-workers",
                "0",
                spelled,
                "--print-config",
            ]
        )
    config = yaml.safe_load(capfd.readouterr().out)
    assert config["run"]["save_every_steps"] == 7
    assert config["data"]["loading"]["num_workers"] == 0
