"""The helps: short where there are many options, and every form of a command in them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from videonl.cli.commands import COMMANDS, TASKS, TRAINER_COMMANDS, usage
from videonl.cli.short_help import short_help
from videonl.models import ClipClassifier


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_the_help_is_short_and_says_how_to_see_everything(videonl: Callable[..., Any], command: str) -> None:
    assert videonl(command, "--help") == (0, " ".join(short_help(command).split()))
    lines = short_help(command).splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 100
    assert f"videonl {command} --help=all" in lines[-1]


def test_the_overview_has_every_command_under_one_task(videonl: Callable[..., Any]) -> None:
    listed = [name for names in TASKS.values() for name in names]
    assert sorted(listed) == sorted([*TRAINER_COMMANDS, *COMMANDS])
    lines = [line.split()[0] for line in usage().splitlines()[4:-2] if line]
    assert lines == [word for task, names in TASKS.items() for word in (f"{task}:", *names)]
    assert videonl("--help") == (0, " ".join(usage().split()))
    assert "--verbose" in usage().splitlines()[-1]


def test_every_option_of_the_short_help_exists(videonl: Callable[..., Any]) -> None:
    network = ArgumentParser()
    network.add_class_arguments(ClipClassifier, "model.network.init_args")
    known = {flag for action in network._actions for flag in action.option_strings}
    everything = videonl("predict", "--help-all").text + videonl("predict", "--video=x", "--help").text
    for command in TRAINER_COMMANDS:
        for option in re.findall(r"(--[\w.]+)(?= |,|$)", short_help(command), re.MULTILINE):
            assert option in known or f"{option} " in everything or f"{option}]" in everything, option


def test_everything_is_there_on_demand(videonl: Callable[..., Any]) -> None:
    for word in ("--help=all", "--help-all"):
        assert "--trainer.gradient_clip_algorithm" in videonl("fit", word).text


def test_forms_of_a_command_are_listed(videonl: Callable[..., Any]) -> None:
    assert "SOURCE... --checkpoint" in videonl("predict", "--help").text
    assert "{blocks,data,model,windows}" in videonl("bench", "--help").text
    assert "--backbone" in videonl("bench", "model", "--help").text


@pytest.mark.parametrize("given", [["--json"], ["--json", "true"], ["--json=true"], ["--json", "false"]])
def test_switches_take_the_value_that_their_help_shows(videonl: Callable[..., Any], given: list[str]) -> None:
    refused = videonl("diagnose", "--checkpoint", "no.ckpt", "--source", "x", *given)
    assert refused.code == 2
    assert "x: no such folder or list file" in refused.text  # the switch itself was taken


def test_of_a_switch_given_twice_the_last_counts_and_files_are_no_repetition(
    videonl: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("checkpoint: no.ckpt\n")
    files = [f"--config={tmp_path}/{name}.yaml" for name in ("a", "b")]
    told = videonl("diagnose", *files, "--source", "x", "--json", "--json", "false").text
    assert "--json is given 2 times: the last one counts" in told
    assert "--config is given" not in told
    assert "x: no such folder or list file" in told
