"""Real offline runs of Weights & Biases, read back from their files."""

import csv
import hashlib
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from videonl.cli.main import main
from videonl.cli.run_folder import Run
from videonl.cli.run_loggers import RunOnWandb, run_id

BLOCK_BYTES, HEADER_BYTES = 32768, 7


def records_of(run_file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format after a file header of seven bytes."""
    data = run_file.read_bytes()
    assert data.startswith(b":W&B")
    position, parts = HEADER_BYTES, []
    while position + HEADER_BYTES <= len(data):
        left_in_block = BLOCK_BYTES - position % BLOCK_BYTES
        if left_in_block < HEADER_BYTES:  # too little for a header: padding
            position += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += HEADER_BYTES
        parts.append(data[position : position + length])
        position += length
        if kind in (1, 4):  # a whole record, or its last part
            yield b"".join(parts)
            parts = []


def all_of(run_file: Path) -> list[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    return [Record.FromString(data) for data in records_of(run_file)]


def history_of(run_file: Path) -> list[dict[str, Any]]:
    """What was logged, one mapping for each call."""
    records = all_of(run_file)
    rows = [record.history.item for record in records if record.HasField("history")]
    return [{"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row} for row in rows]


def until_there(read: Callable[[], list[Any]], seconds: float = 30) -> list[Any]:
    """What is read, once there is some: a process of wandb's own writes the file, and on a busy machine lags behind."""
    deadline = time.monotonic() + seconds
    while not (rows := read()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return rows


@pytest.mark.filterwarnings("ignore")  # wandb has many of its own
def test_offline_run_holds_what_was_logged(videonl: Callable[..., Any], small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert videonl("fit", "--config", small_config, "--run.dir", run, "--run.wandb", "offline").code == 0
    (run_file,) = run.glob("wandb/offline-run-*/*.wandb")
    rows = until_there(lambda: history_of(run_file))
    assert {"train/loss_step", "train/top1", "val/top1", "lr-AdamW/network affinities"} <= {
        key for row in rows for key in row
    }
    losses = [row["train/loss_step"] for row in rows if "train/loss_step" in row]
    assert len(losses) == 2
    assert all(0 < loss < 10 for loss in losses)


@pytest.fixture(scope="module")
def logged(small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of two epochs that was logged offline, and then resumed for a third."""
    run = tmp_path_factory.mktemp("wandb") / "run"
    words = ["fit", "--config", str(small_config), "--run.dir", str(run), "--run.wandb", "offline"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)  # wandb has many of its own
        assert main([*words, "--trainer.max_epochs", "2"]) == 0
        assert main([*words, "--trainer.max_epochs", "3", "--ckpt_path", "last"]) == 0
    return run


def files_of(run: Path) -> list[Path]:
    return sorted(run.glob("wandb/offline-run-*/*.wandb"))


def test_a_resumed_training_goes_on_in_the_same_run(logged: Path) -> None:
    first, second = files_of(logged)
    assert first.name == second.name == f"run-{run_id(Run(dir=str(logged)))}.wandb"
    epochs = [
        {row["epoch"] for row in until_there(lambda file=file: history_of(file)) if "epoch" in row}
        for file in (first, second)
    ]
    assert epochs == [{0, 1}, {2}]
    steps = [max(row["trainer/global_step"] for row in history_of(file)) for file in (first, second)]
    assert steps == [4, 6]


def test_speed_blocks_and_evaluation_are_logged(logged: Path) -> None:
    rows = until_there(lambda: history_of(files_of(logged)[0]))
    values = {key: [row[key] for row in rows if key in row] for row in rows for key in row}
    assert len(values["throughput/clips_per_second_epoch"]) == len(values["blocks/res3.0/entropy"]) == 2
    assert all(value > 0 for value in values["throughput/clips_per_second"])
    assert all(0 < value < 1 for value in values["throughput/data_wait_epoch"])
    assert all(0 < value < 0.1 for value in values["blocks/res3.0/gamma"])  # 0 at the start, and two short epochs
    assert values["blocks/res3.0/gamma"][0] != values["blocks/res3.0/gamma"][1]
    pictures = {value for key, found in values.items() if key.startswith("val/confusion") for value in map(str, found)}
    assert pictures
    folder = files_of(logged)[0].parent / "files" / "media"
    assert len(list(folder.glob("images/val/confusion_*.png"))) == 2
    table = json.loads(sorted(folder.glob("table/val/classes_*.json"))[0].read_text())
    assert table["columns"] == ["class", "videos", "accuracy", "most often taken for", "how many"]
    assert {row[0] for row in table["data"]} == {"sum_0", "sum_1"}
    assert sum(row[1] for row in table["data"]) == 7


def test_config_videos_and_checkpoint_are_kept(logged: Path, clips: Path) -> None:
    records = until_there(lambda: all_of(files_of(logged)[0]))
    settings = {item.key: item.value_json for record in records for item in record.run.config.update}
    assert json.loads(settings["model"])["network"]["init_args"]["width"] == 3
    artifacts = {record.artifact.name: record.artifact for record in records if record.HasField("artifact")}
    videos, model = artifacts["videos"], artifacts[f"model-{run_id(Run(dir=str(logged)))}"]
    assert (videos.type, model.type) == ("dataset", "model")
    assert "best" in model.aliases
    (entry,) = model.manifest.contents
    assert entry.path == "best.ckpt"
    assert Path(entry.local_path).is_relative_to(logged)  # not in the home directory
    with Path(videos.manifest.contents[0].local_path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    listed = {row["path"]: (row["split"], row["label"]) for row in rows}
    expected = {str(path): (path.parts[-3], path.parts[-2]) for path in clips.glob("*/*/*.mp4")}
    assert listed == expected
    assert len(rows) == 13 + 7 + 11


@pytest.mark.filterwarnings("ignore")
def test_a_large_checkpoint_is_a_reference_and_a_test_goes_on_in_the_run(
    videonl: Callable[..., Any], small_config: Path, tmp_path: Path
) -> None:
    run, common = tmp_path / "run", ["--config", small_config, "--run.wandb", "offline"]
    assert videonl("fit", *common, "--run.dir", run, "--run.upload_limit_mb", 0.1).code == 0
    assert videonl("test", *common, "--run.dir", run).code == 0
    first, second = files_of(run)
    assert first.name == second.name
    artifacts = [record.artifact for record in until_there(lambda: all_of(first)) if record.HasField("artifact")]
    (model,) = [artifact for artifact in artifacts if artifact.type == "model"]
    (entry,) = model.manifest.contents
    assert entry.ref == (run / "checkpoints" / "best.ckpt").as_uri()
    assert entry.digest and not entry.local_path
    keys = {key for row in until_there(lambda: history_of(second)) for key in row}
    assert "test/top1" in keys and any(key.startswith("test/classes") for key in keys)


@pytest.mark.filterwarnings("ignore")
def test_artifacts_can_be_left_out_and_a_new_training_is_a_new_run(
    videonl: Callable[..., Any], small_config: Path, tmp_path: Path
) -> None:
    words = [
        "fit",
        "--config",
        small_config,
        "--run.dir",
        tmp_path,
        "--run.wandb",
        "offline",
        "--run.overwrite",
        "true",
    ]
    assert videonl(*words, "--run.artifacts", "false", "--run.diagnosed_clips", 0).code == 0
    (first,) = files_of(tmp_path)
    assert videonl(*words).code == 0
    assert len({file.name for file in files_of(tmp_path)}) == 2
    records = until_there(lambda: all_of(first))
    assert {record.artifact.type for record in records if record.HasField("artifact")} <= {"run_table"}  # of classes
    assert not [key for row in history_of(first) for key in row if key.startswith("blocks/")]


@pytest.mark.filterwarnings("ignore")
def test_online_without_an_account_becomes_offline_and_asks_nothing(
    videonl: Callable[..., Any], small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    ran = videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", "--run.wandb", "online")
    assert ran.code == 0
    assert ran.text.count("W&B cannot be used online") == 1
    assert "wandb login" in ran.text
    assert ran.text.count("W&B run: offline; upload it with: wandb sync ") == 1
    assert "wandb:" not in ran.text  # no banner, no curves
    (file,) = files_of(tmp_path / "run")
    assert any("val/top1" in row for row in until_there(lambda: history_of(file)))


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_fails_in_the_middle_does_not_end_the_training(
    videonl: Callable[..., Any], small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise wandb.errors.CommError("network is gone")

    for name in ("log", "log_artifact", "finish"):
        monkeypatch.setattr(wandb.Run, name, fail)
    ran = videonl("fit", "--config", small_config, "--run.dir", tmp_path, "--run.wandb", "offline")
    monkeypatch.undo()
    wandb.finish()
    assert ran.code == 0
    assert ran.text.count("RunOnWandb failed") == 1
    assert "network is gone" in ran.text
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


def test_disabled_has_no_run(trained: Path) -> None:
    assert not (trained / "wandb").exists()


def test_settings_reach_wandb(tmp_path: Path) -> None:
    logger = RunOnWandb(Run(dir=str(tmp_path / "mine"), project="a project", wandb="online"), "an_id", {"a": 1})
    assert isinstance(logger, WandbLogger)
    assert logger._wandb_init["name"] == "mine"
    assert (logger.name, logger.version) == ("a project", "an_id")
    assert not (tmp_path / "mine").exists()  # until the run begins


@pytest.mark.filterwarnings("ignore")  # wandb has many of its own
def test_offline_run_holds_the_films(videonl: Callable[..., Any], small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--run.wandb", "offline", "--run.films_every_epochs", 1]
    assert videonl("fit", "--config", small_config, "--run.dir", run, *options).code == 0
    films = sorted((run / "films").glob("*/*/*.mp4"))
    assert [film.parts[-3] for film in films] == ["epoch_0000"] * 2
    assert [film.parts[-2][:6] for film in films] == ["sum_0_", "sum_1_"]
    (run_file,) = run.glob("wandb/offline-run-*/*.wandb")
    rows = until_there(lambda: [row for row in history_of(run_file) if any(key.startswith("films") for key in row)])
    end = "/videos"  # each is logged as a mapping
    logged = {key.removesuffix(end): value for row in rows for key, value in row.items() if key.endswith(end)}
    assert sorted(logged) == [f"films/{film.parts[-2]}/{film.stem}" for film in films]
    for film in films:
        (kept,) = logged[f"films/{film.parts[-2]}/{film.stem}"]
        path = run_file.parent / "files" / kept["path"]
        assert path.read_bytes() == film.read_bytes()
        assert kept["sha256"] == hashlib.sha256(film.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("variables", "settings", "expected"),
    [
        ({}, {}, ("videonl", "run", "run")),
        ({"WANDB_PROJECT": "mine", "WANDB_NAME": "first"}, {}, ("mine", "first", "run")),
        ({"WANDB_PROJECT": "mine"}, {"project": "asked"}, ("asked", "run", "run")),
        ({"WANDB_DIR": "elsewhere"}, {}, ("videonl", "run", "elsewhere")),
    ],
    ids=["defaults", "variables", "asked", "folder"],
)
def test_variables_of_wandb_win_over_defaults_alone(
    variables: dict[str, str],
    settings: dict[str, str],
    expected: tuple[str, str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_DIR", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    asked = RunOnWandb(Run(dir="run", wandb="offline", **settings), None, None)._wandb_init
    assert (asked["project"], asked["name"], asked["dir"]) == expected


def test_off_is_disabled(videonl: Callable[..., Any], small_config: Path) -> None:
    assert Run(wandb=False).wandb == "disabled"
    shown = videonl("fit", "--config", small_config, "--run.wandb", "off", "--print_config")
    assert (shown.code, "wandb: false" in shown.text) == (0, True)
