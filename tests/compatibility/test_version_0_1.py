"""Files that version 0.1.0 wrote keep working: a run, its record, an index, shards, weights and a configuration.

They lie in ``version_0_1``: clips of ``videonl synth``, ``index.parquet``, shards with their index in ``shards``,
the run of ``fit --config experiment.yaml`` for 2 epochs with its ``test.parquet``, and ``weights.pt`` of the network.
"""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from videonl.cli.main import main
from videonl.data.sources.labeled import read_source
from videonl.evaluation import read_record, stack
from videonl.models.checkpoints import load_trained

OLD = Path(__file__).parent / "version_0_1"
CLASSES = ["sum_0", "sum_1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, which are relative to the working folder."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def test_its_checkpoint_gives_the_recorded_scores(folder: Path) -> None:
    out = folder / "again"
    words = [
        "--checkpoint",
        "run/checkpoints/best.ckpt",
        "--out",
        str(out),
        "--clips",
        "1",
        "--crops",
        "1",
        "--num_workers",
        "0",
        "--device",
        "cpu",
    ]
    assert main(["evaluate", "--index", "data/test", *words]) == 0
    before, now = (
        stack(read_record(path).scores)[0] for path in (folder / "run" / "test.parquet", out / "evaluation.parquet")
    )
    assert torch.allclose(before, now, rtol=0, atol=1e-6)


def test_its_record_makes_a_report(folder: Path) -> None:
    record = read_record(folder / "run" / "test.parquet")
    assert (record.class_names, len(record.scores)) == (CLASSES, 2)
    assert main(["report", "run/test.parquet"]) == 0


def test_its_weights_are_those_of_its_checkpoint(folder: Path) -> None:
    weights, checkpoint = (load_trained(folder / name) for name in ("weights.pt", "run/checkpoints/best.ckpt"))
    assert weights.class_names == checkpoint.class_names == CLASSES
    assert weights.clip == checkpoint.clip
    states = weights.network.state_dict(), checkpoint.network.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(("source", "num_videos"), [("index.parquet", 8), ("shards/index.parquet#train", 4)])
def test_its_indexes_are_sources(folder: Path, source: str, num_videos: int) -> None:
    videos = read_source(source)
    assert len(videos) == num_videos
    assert {video.label for video in videos} == set(CLASSES)


@pytest.mark.parametrize("data", [[], ["train=index.parquet#train", "val=shards/index.parquet#val"]])
def test_its_training_goes_on_from_its_configuration(
    folder: Path, data: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    sources = [f"--data.{word.replace('=', f'={folder}/')}" for word in data]
    words = ["--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt", "--trainer.max_epochs", "3"]
    assert main(["fit", *words, *sources, "--run.keep_memory", "false", "--trainer.log_every_n_steps", "1"]) == 0
    resumed = torch.load(folder / "run" / "checkpoints" / "last.ckpt", weights_only=False)
    assert resumed["epoch"] == 2 and resumed["global_step"] == 6


def test_its_experiment_is_parsed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "experiment.yaml", "--print_config"])
    assert not end.value.code
    assert "brightness: 0.3" in capsys.readouterr().out


def test_its_names_for_options_are_understood(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    old = ["--model.optimisation.lr", "0.003", "--data.augmentation.colour.contrast", "0.2"]
    (folder / "own.yaml").write_text("model: {network: {init_args: {batch_norm: synchronised}}}\n")
    with caplog.at_level("INFO", logger="videonl"), pytest.raises(SystemExit) as end:
        main(["fit", "--config", "experiment.yaml", "--config", "own.yaml", *old, "--print_config"])
    assert not end.value.code
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["optimization"]["lr"] == 0.003
    assert config["data"]["augmentation"]["color"] | {"hue": 0} == {
        "brightness": 0.3,
        "contrast": 0.2,
        "saturation": 0,
        "hue": 0,
    }
    assert config["model"]["network"]["init_args"]["batch_norm"] == "synchronized"
    assert "model.optimisation is named model.optimization now" in caplog.text
