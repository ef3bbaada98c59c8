"""Clips per second and waiting for data, against loaders and networks that take known times by a clock of their own."""

import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from videonl.data.loader import ResumableLoader
from videonl.data.samplers import TrainingSampler
from videonl.training.callbacks import Throughput

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),  # Lightning 2.6 with torch 2.15
]
NUM_CLIPS, BATCH = 15, 3  # 5 steps an epoch


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1009.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which loader and callback measure."""
    clock = Clock()
    for module in ("videonl.data.loader", "videonl.training.callbacks.throughput"):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock


class Slow(Dataset[dict[str, Any]]):
    def __init__(self, clock: Any, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        self.clock.sleep(self.seconds)
        return {"clip": torch.ones(2), "label": key[1]}


class Steps(LightningModule):
    def __init__(self, clock: Any, step_seconds: float, validation_seconds: float = 0.0) -> None:
        super().__init__()
        self.clock = clock
        self.step_seconds, self.validation_seconds = step_seconds, validation_seconds
        self.line = nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.clock.sleep(self.step_seconds)
        loss: Tensor = self.line(batch["clip"]).mean()
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.clock.sleep(self.validation_seconds)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(
    clock: Any,
    step_seconds: float,
    sample_seconds: float,
    tmp_path: Path,
    num_workers: int = 0,
    validation_seconds: float = 0.0,
    **options: Any,
) -> dict[str, float]:
    """What is logged by the end of the last epoch, of one or of two."""
    sampler = TrainingSampler(NUM_CLIPS, batch_size=BATCH)
    loader = ResumableLoader(
        Slow(clock, sample_seconds),
        sampler=sampler,
        batch_size=BATCH,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    trainer = Trainer(
        **{"max_epochs": 1, "log_every_n_steps": 2, **options},
        accelerator="cpu",
        callbacks=[Throughput()],
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Steps(clock, step_seconds, validation_seconds), loader, DataLoader(torch.zeros(2, 1)))
    return {name: float(value) for name, value in trainer.logged_metrics.items()}


def test_waiting_is_the_time_of_loading_where_nothing_loads_in_advance(clock: Clock, tmp_path: Path) -> None:
    logged = train(clock, 0.03, 0.02, tmp_path)
    # 5 steps of 30 ms and, the first batch being that of the start, 4 batches of 3 x 20 ms.
    assert logged["throughput/data_wait_epoch"] == pytest.approx(240 / 390)
    assert logged["throughput/clips_per_second_epoch"] == pytest.approx(15 / 0.390)
    # Of steps 3 and 4 alone, when metrics are logged every second step.
    assert logged["throughput/data_wait"] == pytest.approx(120 / 180)
    assert logged["throughput/clips_per_second"] == pytest.approx(6 / 0.180)


def test_peak_memory_is_that_of_the_process(tmp_path: Path) -> None:
    # In kibibytes on Linux, in bytes on macOS; it only grows.
    before, after = (_peak_mib(), train(time, 0.0, 0.0, tmp_path)["throughput/peak_memory_mib_epoch"])
    assert before <= after * 1.0001  # it is logged in float32
    assert after <= _peak_mib() * 1.0001


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def test_what_a_worker_loads_in_advance_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logged = train(time, 0.25, 0.05, tmp_path, num_workers=1)
    # Without the worker 0.375, which a busy machine does not bring near: it would have to lose 60 ms in every step.
    assert logged["throughput/data_wait_epoch"] < 0.2
    assert logged["throughput/clips_per_second_epoch"] < 15 / 1.25
    assert "waited for data" not in caplog.text


def test_what_a_worker_is_late_with_is(tmp_path: Path) -> None:
    logged = train(time, 0.03, 0.1, tmp_path, num_workers=1)
    # A batch comes every 300 ms, of which the step before takes 30, and on a busy machine more.
    assert 0.4 < logged["throughput/data_wait_epoch"] < 0.97


@pytest.mark.parametrize("interval", [1.0, 0.4], ids=["after the epoch", "within it"])
def test_validations_do_not_count(clock: Clock, tmp_path: Path, interval: float) -> None:
    logged = train(clock, 0.03, 0.02, tmp_path, validation_seconds=0.3, val_check_interval=interval)
    assert logged["throughput/clips_per_second_epoch"] == pytest.approx(15 / 0.390)
    assert logged["throughput/data_wait_epoch"] == pytest.approx(240 / 390)


def test_every_epoch_that_waits_gives_one_warning_with_advice(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "videonl"):
        train(clock, 0.03, 0.02, tmp_path, max_epochs=2)
    warnings = [record.message for record in caplog.records if "waited for data" in record.message]
    assert [message.split(" waited")[0] for message in warnings] == ["epoch 0", "epoch 1"]
    share = float(warnings[1].split(" %")[0].split()[-1])
    assert share == round(100 * 300 / 450)  # five batches now
    for word in ("--data.loading.num_workers (now 0)", "videonl prepare", "videonl bench data"):
        assert word in warnings[1]


def test_other_loaders_have_a_throughput_and_no_share(clock: Clock) -> None:
    class Labeled(Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"clip": torch.ones(2), "label": index}

    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[Throughput()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Steps(clock, 0.03), DataLoader(Labeled(), batch_size=2), DataLoader(torch.zeros(1, 1)))
    assert "throughput/data_wait_epoch" not in trainer.logged_metrics
    assert float(trainer.logged_metrics["throughput/clips_per_second_epoch"]) == pytest.approx(6 / 0.09)
