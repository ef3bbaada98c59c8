"""A run's folder: only what a run of videonl wrote there is deleted, and only where that was asked for."""

from pathlib import Path

import pytest
import torch

from videonl.cli.run_folder import Run, begin_or_resume, goes_on
from videonl.errors import UserError

SAVED = """
seed_everything: 0
ckpt_path: null
run: {dir: x, wandb: disabled, project: videonl, artifacts: true, upload_limit_mb: 500.0, tensorboard: false,
  overwrite: false}
"""
FOREIGN = ("films/holiday.mp4", "checkpoints/other.ckpt", "notes.txt", "films/epoch_0001/mine.mp4")
OWN = ("test.parquet", "test.html", "films/epoch_0003/run_a/res3.1.mp4", "tensorboard/fit/events.out.tfevents.7")


def write(folder: Path, name: str, text: str = "precious") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def write_checkpoint(folder: Path, name: str, **content: object) -> None:
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    trainers = {"state_dict": {}, "pytorch-lightning_version": "2.6.0"}
    torch.save(trainers | content, folder / "checkpoints" / name)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a run of one epoch leaves, and files of others."""
    for name in (*FOREIGN, *OWN):
        write(tmp_path, name)
    write(tmp_path, "config.yaml", SAVED)
    for name in ("best.ckpt", "last.ckpt"):
        write_checkpoint(tmp_path, name, videonl={}, epoch=0)
    return tmp_path


@pytest.mark.parametrize("asked", [None, "last"])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["config.yaml", "checkpoints/best.ckpt"])
def test_files_of_others_are_never_written_over(tmp_path: Path, asked: str | None, overwrite: bool, name: str) -> None:
    for foreign in (*FOREIGN, name):
        write(tmp_path, foreign, "model: mine\nrun: {dir: here}")
    before = content(tmp_path)
    with pytest.raises(UserError, match=rf"{name} was not written by a run of videonl.*choose another --run\.dir"):
        begin_or_resume(Run(str(tmp_path), overwrite=overwrite), asked)
    assert content(tmp_path) == before


def test_a_foreign_checkpoint_is_not_a_run_of_ours(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "best.ckpt", state_dict={})
    with pytest.raises(UserError, match="not written by a run of videonl"):
        begin_or_resume(Run(str(tmp_path), overwrite=True), "last")


def test_overwriting_deletes_what_a_run_wrote_and_no_more(run: Path) -> None:
    assert begin_or_resume(Run(str(run), overwrite=True), None) is None
    assert content(run).keys() == {*FOREIGN, "config.yaml"}


def test_without_overwrite_nothing_is_deleted(run: Path) -> None:
    before = content(run)
    with pytest.raises(UserError, match="already holds a run"):
        begin_or_resume(Run(str(run)), None)
    (run / "config.yaml").unlink()
    with pytest.raises(UserError, match="already holds a run"):
        begin_or_resume(Run(str(run)), None)
    (run / "config.yaml").write_text(SAVED)
    (run / "checkpoints" / "last.ckpt").unlink()  # as if killed before its first one
    del before["checkpoints/last.ckpt"]
    assert begin_or_resume(Run(str(run)), "last") is None
    assert content(run) == before


def test_weights_to_start_from_are_not_deleted(run: Path) -> None:
    with pytest.raises(UserError, match=r"best\.ckpt.* is an input, and would be overwritten"):
        begin_or_resume(Run(str(run), overwrite=True), None, str(run / "checkpoints" / ".." / "checkpoints/best.ckpt"))
    assert (run / "test.html").exists()


def test_a_foreign_log_is_not_gone_on_with(run: Path) -> None:
    write(run, "logs/fit/version_0/metrics.csv")
    assert goes_on(Run(str(run)), "last")
    (run / "checkpoints" / "last.ckpt").unlink()
    assert goes_on(Run(str(run)), "last")
    (run / "config.yaml").unlink()
    assert not goes_on(Run(str(run)), "last")
    assert not goes_on(Run(str(run)), None)
