"""What docs/training.md has for the configuration: averaging, early stopping, synchronized norms, freezing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from videonl.evaluation import read_record
from videonl.models.checkpoints import load_trained

CALLBACKS = """
trainer:
  max_epochs: 7
  callbacks:
    - class_path: lightning.pytorch.callbacks.EMAWeightAveraging
      init_args: {decay: 0.9}
    - class_path: videonl.training.FreezeBackbone
      init_args: {num_epochs: 1}
    - class_path: videonl.training.PreciseBatchNorm
      init_args: {num_batches: 1}
    - class_path: lightning.pytorch.callbacks.EarlyStopping
      init_args: {monitor: val/top1, mode: max, patience: 2, min_delta: 2.0}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: KEPT, filename: "epoch_{epoch}", monitor: val/top1, mode: max, save_top_k: 2}
model:
  optimization: {lr_per_clips: 64, layer_decay: 0.7}
"""


def test_callbacks_of_the_docs_train_stop_and_are_tested(
    videonl: Callable[..., object], small_config: Path, tmp_path: Path
) -> None:
    (tmp_path / "callbacks.yaml").write_text(CALLBACKS.replace("KEPT", str(tmp_path / "kept")))
    run = tmp_path / "run"
    fitted = videonl("fit", "--config", small_config, "--config", tmp_path / "callbacks.yaml", "--run.dir", run)
    assert fitted.code == 0, fitted.text
    assert re.findall(r"warning: (?!epoch \d+ waited)", fitted.text) == []  # that it waits is true of a busy machine
    assert "for 1 epoch " in fitted.text
    assert len(list((tmp_path / "kept").iterdir())) == 2  # beside best.ckpt, which watches the same accuracy
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["best.ckpt", "last.ckpt"]
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 2  # no accuracy can rise by 2, so the two epochs of patience follow the first
    rates = {group["name"]: group["initial_lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]}
    assert rates["head"] == pytest.approx(0.004 * 5 / 64)
    assert rates["res2"] == pytest.approx(0.004 * 5 / 64 * 0.7**4)
    tested = videonl("test", "--config", run / "config.yaml", "--run.dir", run)
    assert tested.code == 0, tested.text
    assert (tested.text.count("top-1 │"), "test/top1" in tested.text) == (1, False)  # the accuracies, once
    assert len(read_record(run / "test.parquet").scores) == 11
    # The file alone gives the averaged network.
    network = load_trained(run / "checkpoints" / "last.ckpt").network
    for name, value in network.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][f"network.{name}"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model.network.init_args.batch_norm", "frozen"], "would replace the norms of batch_norm: frozen"),
        (["--model.network.init_args.batch_norm", "affine"], "would replace the norms of batch_norm: affine"),
        ([], "requires GPUs"),
    ],
)
def test_lightnings_synchronized_norms_are_refused_where_they_do_harm(
    videonl: Callable[..., object], small_config: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    ran = videonl(
        *("fit", "--config", small_config, "--run.dir", tmp_path, "--trainer.sync_batchnorm", "true", *options)
    )
    assert ran.code == 2
    assert told in ran.text
