"""What docs/study.md says, run."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from videonl.cli.foreign_code import expand_trusted
from videonl.cli.run_parsing import check_run
from videonl.cli.study_file import KEYS, read_study

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "study.md").read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
pytestmark = pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")

# In place of videonl: keeps its words, and leaves the log of a training whose best epoch is the first of two.
STAND_IN = """#!{python}
import pathlib, sys
run = pathlib.Path(sys.argv[sys.argv.index("--run.dir") + 1])
(run / "logs" / "fit" / "version_0").mkdir(parents=True)
(run / "words").write_text("\\n".join(sys.argv[1:]))
(run / "logs" / "fit" / "version_0" / "metrics.csv").write_text("epoch,val/top1\\n0,0.75\\n0,\\n1,0.5\\n")
"""


@pytest.fixture
def words_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """The words that ``videonl`` was called with for a run's folder, once the page's commands have run."""
    program = tmp_path / "bin" / "videonl"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.chdir(tmp_path)
    return lambda run: (tmp_path / run / "words").read_text().splitlines()


def test_the_first_study_builds(tmp_path: Path) -> None:
    path = tmp_path / "blocks.yaml"
    path.write_text(YAML[0])
    assert len(read_study(path).cells) == 15


def test_every_key_is_documented() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [
        *("base", "variants", "seeds", "baseline", "test", "folds", "metric", "name", "extends")
    ]
    assert {*KEYS, "extends"} == {*re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)}


@pytest.mark.skipif(shutil.which("bash") is None, reason="the sweep's command is of bash")
def test_a_sweep_calls_fit_with_the_options_of_its_parameters(
    words_of: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args  # a second, for every process that collects

    sweep = yaml.safe_load(YAML[1])
    values = {"model.optimization.lr": 0.0015, "model.optimization.weight_decay": 0.01, "seed_everything": 2}
    assert values.keys() == sweep["parameters"].keys()
    expanded = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    command = [word for part in sweep["command"] for word in (expanded["args"] if part == "${args}" else [part])]
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    subprocess.run(command, check=True)
    subcommand, *words = words_of("runs/sweep/abc123")
    config = check_run(subcommand, expand_trusted(words, trusted=True))
    assert (config["seed_everything"], config["run"]["dir"]) == (2, "runs/sweep/abc123")
    assert (config["model"]["optimization"]["lr"], config["run"]["wandb"]) == (0.0015, "online")


def test_a_search_reads_the_best_epoch(words_of: Callable[[str], list[str]]) -> None:
    optuna = pytest.importorskip("optuna", reason="Optuna is absent: pip install optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    code, end = PYTHON[0].split("study = ")
    found: dict[str, object] = {}
    exec(code, found)
    trial = optuna.trial.FixedTrial({"lr": 0.0015, "dropout": 0.25}, number=7)
    accuracy: Callable[[object], float] = found["accuracy"]  # type: ignore[assignment]  # defined by the page
    assert accuracy(trial) == 0.75
    assert "optimize(accuracy" in end
    subcommand, *words = words_of("runs/optuna/7")
    config = check_run(subcommand, expand_trusted(words, trusted=True))
    assert config["model"]["optimization"]["lr"] == 0.0015
    assert config["model"]["network"]["init_args"]["dropout"] == 0.25
