"""Films of attention while a network trains, from the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from videonl.cli.main import main

Videonl = Callable[..., Any]


def last_checkpoint(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)
    return content


def frames_of(film: Path) -> list[np.ndarray]:
    with av.open(str(film)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


@pytest.fixture
def fit(videonl: Videonl, small_config: Path, tmp_path: Path) -> Callable[..., Any]:
    """``fit(name, *options)`` trains two epochs into that folder."""

    def run(name: str, *options: object) -> Any:
        epochs = ["--trainer.max_epochs", 2]
        return videonl("fit", "--config", small_config, "--run.dir", tmp_path / name, *epochs, *options)

    return run


def test_films_of_the_same_clips_every_other_epoch(fit: Callable[..., Any], clips: Path, tmp_path: Path) -> None:
    assert fit("run", "--run.films_every_epochs", 2).code == 0
    firsts = [sorted((clips / "val" / name).glob("*.mp4"))[0] for name in ("sum_0", "sum_1")]
    films = sorted(path for path in (tmp_path / "run" / "films").rglob("*") if path.is_file())
    names = [f"{first.parent.name}_{first.stem}" for first in firsts]
    assert [film.relative_to(tmp_path / "run" / "films").parts for film in films] == [
        ("epoch_0001", name, "res3.0.mp4") for name in names
    ]
    # They are what the command draws of the checkpoint of that epoch's end.
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    asked = ["--checkpoint", checkpoint, "--video", firsts[1], "--out", tmp_path / "asked"]
    assert main(["attention", *map(str, asked)]) == 0
    drawn = frames_of(tmp_path / "run" / "films" / "epoch_0001" / names[1] / "res3.0.mp4")
    expected = frames_of(tmp_path / "asked" / "res3.0.mp4")
    assert len(drawn) == len(expected) >= 5
    # Not to the last bit: now and then x264's assembly encodes the same frames to other bytes.
    assert all(np.abs(one - other).mean() < 1 for one, other in zip(drawn, expected, strict=True))


def test_training_is_the_same_to_the_last_bit(fit: Callable[..., Any], tmp_path: Path) -> None:
    dropout = ["--model.network.init_args.dropout", 0.5]
    assert fit("plain", *dropout).code == 0
    plain_random = torch.get_rng_state()
    assert fit("filmed", "--run.films_every_epochs", 1, *dropout).code == 0
    assert torch.equal(torch.get_rng_state(), plain_random)
    assert len(list((tmp_path / "filmed" / "films").glob("*/*/*.mp4"))) == 4
    plain, filmed = last_checkpoint(tmp_path / "plain"), last_checkpoint(tmp_path / "filmed")
    assert plain["state_dict"].keys() == filmed["state_dict"].keys()
    for name, value in plain["state_dict"].items():  # running statistics of batch norms are among them
        assert torch.equal(value, filmed["state_dict"][name]), name
    (of_filmed,), (of_plain,) = filmed["optimizer_states"], plain["optimizer_states"]
    assert of_filmed["param_groups"] == of_plain["param_groups"]
    torch.testing.assert_close(of_filmed["state"], of_plain["state"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--model.network.init_args.blocks", "[]"], "the network has no attention blocks"),
        (["--data.val", "null"], "there are no validation videos to film"),
    ],
)
def test_what_cannot_be_filmed_is_a_warning(fit: Callable[..., Any], tmp_path: Path, options, reason) -> None:
    trained = fit("run", "--run.films_every_epochs", 2, *options)
    assert trained.code == 0
    assert f"could not make the attention films of epoch 1: {reason}" in trained.text
    assert not (tmp_path / "run" / "films").exists()
    assert last_checkpoint(tmp_path / "run")["epoch"] == 1


def test_a_video_that_cannot_be_read_gives_way_to_the_next(
    fit: Callable[..., Any], clips: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "val" / "sum_0" / "a.mp4"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no video")
    good = sorted((clips / "val").glob("*/*.mp4"))
    for video in good:
        copy = tmp_path / "val" / video.parent.name / video.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(video.read_bytes())
    assert fit("run", "--run.films_every_epochs", 2, "--data.val", tmp_path / "val").code == 0
    names = {path.name for path in (tmp_path / "run" / "films" / "epoch_0001").iterdir()}
    firsts = {f"{video.parent.name}_{video.stem}" for video in (good[0], next(v for v in good if "sum_1" in str(v)))}
    assert names == firsts


def test_a_new_training_in_the_same_folder_takes_the_old_films_away(fit: Callable[..., Any], tmp_path: Path) -> None:
    options = ["--trainer.max_epochs", 1]
    assert fit("run", "--run.films_every_epochs", 1, *options).code == 0
    assert list((tmp_path / "run" / "films").rglob("*.mp4"))
    assert fit("run", "--run.overwrite", "true", *options).code == 0
    assert not list((tmp_path / "run" / "films").rglob("*.mp4"))
