"""``--ckpt_path last`` in the command that starts a run: it begins, goes on, has nothing to do, or stops safely."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from videonl.training import optimization

Videonl = Callable[..., Any]
StepsOf = Callable[[Path], list[dict[str, str]]]


@pytest.fixture
def command(small_config: Path, tmp_path: Path) -> list[object]:
    return ["fit", "--config", small_config, "--run.dir", tmp_path / "run", "--ckpt_path", "last"]


def content(run: Path) -> dict[Path, bytes]:
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_it_begins_then_has_nothing_left_to_do_and_begins_anew_where_its_first_checkpoint_was_never_written(
    videonl: Videonl, command: list[object], steps_of: StepsOf, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begun = videonl(*command)
    assert begun.code == 0
    assert "has no last.ckpt yet: starting from scratch" in begun.text
    before, logged = content(run), steps_of(run)
    assert videonl(*command).code == 0
    assert content(run) == before
    (run / "checkpoints" / "last.ckpt").unlink()  # best.ckpt and the log are of the training that was lost
    assert videonl(*command).code == 0
    assert content(run).keys() == before.keys()
    assert steps_of(run) == logged


def test_it_goes_on_in_one_log_and_clears_what_a_kill_left(
    videonl: Videonl, command: list[object], steps_of: StepsOf, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    whole = [*command, "--run.dir", tmp_path / "whole", "--trainer.max_epochs", 2]
    assert videonl(*whole).code == 0
    assert videonl(*command).code == 0
    (run / "checkpoints" / "last.ckpt.unfinished").write_bytes(b"half")
    assert videonl(*command, "--trainer.max_epochs", 2).code == 0
    assert content(run).keys() == content(tmp_path / "whole").keys()
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert yaml.safe_load((run / "config.yaml").read_text())["ckpt_path"] is None
    # The rate's schedule is another one in a training of one epoch, but the rows are of the same steps.
    one, two = ([(row["step"], row.keys()) for row in steps_of(folder)] for folder in (run, tmp_path / "whole"))
    assert one == two


def test_a_later_best_checkpoint_is_not_begun_over(videonl: Videonl, command: list[object], tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    assert videonl(*command).code == 0
    (checkpoints / "last.ckpt").unlink()
    best = checkpoints / "best.ckpt"
    state = torch.load(best, weights_only=True)
    torch.save(state | {"epoch": 1}, best)
    before = content(tmp_path / "run")
    refused = videonl(*command)
    assert refused.code == 2
    assert f"{checkpoints} has no last.ckpt any more, only the best.ckpt of epoch 1" in refused.text
    assert content(tmp_path / "run") == before
    assert videonl(*command, "--run.overwrite", "true").code == 0


def test_a_checkpoint_of_another_run_begins_a_log_of_its_own_and_does_not_write_over_this_one(
    videonl: Videonl, trained: Path, command: list[object], tmp_path: Path
) -> None:
    other = [*command[:-1], trained / "checkpoints" / "last.ckpt", "--trainer.max_epochs", 2]
    of_other = content(trained)
    assert videonl(*other).code == 0
    assert content(trained) == of_other
    rows = (tmp_path / "run" / "logs" / "fit" / "version_0" / "metrics.csv").read_text().splitlines()
    assert not any(row.startswith("0,") for row in rows)  # of epoch 0
    before = content(tmp_path / "run")
    refused = videonl(*other)
    assert refused.code == 2
    assert "already holds a run" in refused.text
    assert content(tmp_path / "run") == before
    assert videonl(*other, "--run.overwrite", "true").code == 0


def test_a_training_that_diverges_or_fills_the_disk_stops_and_keeps_the_last_good_checkpoint(
    videonl: Videonl,
    command: list[object],
    files_at_most: Callable[[int], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert videonl(*command).code == 0
    before = last.read_bytes()
    monkeypatch.setattr(optimization, "MOST_LR", math.inf)
    # On resuming, the rate is that of the configuration.
    diverged = videonl(*command, "--trainer.max_epochs", 2, "--model.optimization.lr", 1e38)
    assert diverged.code == 2
    assert "is not finite after step 4: the training has diverged" in diverged.text
    assert f"{last} holds the last good weights. Try a lower --model.optimization.lr" in diverged.text
    assert "Traceback" not in diverged.text
    assert last.read_bytes() == before
    monkeypatch.undo()
    with files_at_most(len(before) // 2):
        stopped = videonl(*command, "--trainer.max_epochs", 2)
    assert stopped.code == 2
    assert f"{last.with_name('best.ckpt')} cannot be written" in stopped.text or f"{last} cannot" in stopped.text
    assert "(File too large); what it held before is unharmed. Free space" in stopped.text
    assert "Traceback" not in stopped.text
    assert last.read_bytes() == before
    assert {path.name for path in last.parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert videonl(*command, "--trainer.max_epochs", 2).code == 0
    assert last.read_bytes() != before
