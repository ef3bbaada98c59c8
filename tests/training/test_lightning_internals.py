"""A canary: what the package uses of Lightning's private parts is still there, and still means what it did."""

import re
from importlib.metadata import version
from pathlib import Path

import lightning.pytorch.loops.loop
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from videonl.training import lightning_internals as internals

PACKAGE = Path(internals.__file__).parents[1]
PRIVATE = {
    "trainer": [
        "_logger_connector._first_loop_iter",
        "_logger_connector.should_update_logs",
        "_logger_connector.metrics",
        "_signal_connector.received_sigterm",
        "_signal_connector._sigterm_notifier_fn",
    ],
    "fit_loop": [
        "_data_fetcher",
        "restarted_mid_epoch",
        "restarted_on_epoch_end",
        "epoch_progress.increment_completed",
    ],
    "epoch_loop": [
        "_batches_that_stepped",
        "_should_check_val_fx",
        "_should_accumulate",
        "_is_training_done",
        "_num_ready_batches_reached",
        "_results",
        "restarted_on_last",
        "reset_restart_stage",
    ],
}


class Line(LightningModule):
    """One weight, whose loss is the batch's number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.log("loss", batch.mean(), on_step=True, on_epoch=True, batch_size=len(batch))
        loss: Tensor = self.weight.sum() * 0
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Look(Callback):
    """Notes what the private parts say at each step."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.over: list[bool] = []
        self.sums: list[list[float]] = []
        self.steps: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        owners = {"trainer": trainer, "fit_loop": trainer.fit_loop, "epoch_loop": trainer.fit_loop.epoch_loop}
        for owner, paths in PRIVATE.items():
            for path in paths:
                part: object = owners[owner]
                for name in path.split("."):
                    if not hasattr(part, name):
                        self.missing.append(f"{owner}.{path}")
                        break
                    part = getattr(part, name)
        self.over.append(internals.is_epoch_over(trainer))
        (sums,) = internals.sums(trainer).values()
        self.sums.append([float(part) for part in sums])
        row = internals.coming_row(trainer)
        self.steps.append(-1 if row is None else row["step"])


def test_the_private_parts_are_there_and_mean_the_same(tmp_path: Path) -> None:
    look = Look()
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=tmp_path,
        callbacks=[look],
    )
    trainer.fit(Line(), DataLoader(torch.tensor([[2.0], [3.0], [5.0]]), batch_size=1))
    assert look.missing == [], f"lightning {version('lightning')} has moved: {look.missing}"
    assert look.over == [False, False, True]
    assert look.sums == [[2, 1], [5, 2], [10, 3]]
    assert isinstance(lightning.pytorch.loops.loop._Loop.restarting, property)


def test_no_other_module_reaches_into_lightning() -> None:
    private = re.compile(r"\b(?:trainer|loop|connector|fit_loop|epoch_loop|logger)\._[a-z]\w*")
    found = {
        f"{path.relative_to(PACKAGE)}: {match}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "lightning_internals.py"
        for match in private.findall(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_lightning_is_bound_from_above() -> None:
    project = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'"lightning>=[\d.]+,<[\d.]+"', project)
