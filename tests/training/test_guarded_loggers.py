"""Whatever a logger raises, a training goes on, and says once what was wrong."""

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

import videonl.training.guarded_loggers as under_test
from videonl.training.guarded_loggers import attempt, guarded

CALLS = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint", "experiment")


class Experiment:
    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def add_image(self, image: int) -> int:
        self.calls.append("add_image")
        raise TimeoutError("the server does not answer")


class Faulty(Logger):
    """Notes what is called, and raises in one method of them."""

    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken
        self.calls: list[str] = []

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name == self.broken:
            raise OSError(28, "No space left on device")

    name = "faulty"
    version = 0

    @property
    def experiment(self) -> Any:
        self._note("experiment")
        return Experiment(self.calls)

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        self._note("log_metrics")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self._note("log_hyperparams")

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        self._note("log_graph")

    def save(self) -> None:
        self._note("save")

    def finalize(self, status: str) -> None:
        self._note("finalize")

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        self._note("after_save_checkpoint")


class Line(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"slope": 1})
        self.line = nn.Linear(3, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.line(batch).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(loggers: list[Logger], directory: Path) -> Trainer:
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=loggers,
        callbacks=[ModelCheckpoint(directory), LearningRateMonitor()],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), DataLoader(torch.randn(7, 3), batch_size=2))
    return trainer


@pytest.mark.parametrize("broken", CALLS)
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # Lightning 2.6 with torch 2.15
def test_a_training_goes_on_whatever_method_raises(
    broken: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger, sound = Faulty(broken), Faulty("none")
    trainer = fit([guarded(logger), sound], tmp_path)
    assert trainer.global_step == 8
    assert logger.calls.count("log_metrics") == sound.calls.count("log_metrics") >= 8  # it is asked again
    named = [record.message for record in caplog.records if "Faulty" in record.message]
    assert len(named) == 1
    assert "No space left on device" in named[0] and broken in named[0]


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")
def test_without_a_guard_the_same_training_ends(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        fit([Faulty("log_metrics")], tmp_path)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")
def test_a_real_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("where the folder should be")
    broken, sound = CSVLogger(tmp_path / "logs"), CSVLogger(tmp_path / "sound", flush_logs_every_n_steps=1)
    trainer = fit([guarded(broken), guarded(sound)], tmp_path / "checkpoints")
    assert trainer.global_step == 8
    assert sum("CSVLogger failed" in record.message for record in caplog.records) == 1
    assert len((Path(sound.log_dir) / "metrics.csv").read_text().splitlines()) > 8


def test_a_guarded_logger_stays_of_its_class_and_works(tmp_path: Path) -> None:
    logger = guarded(TensorBoardLogger(tmp_path, name="a", version="b"))
    assert isinstance(logger, TensorBoardLogger)
    assert guarded(logger) is logger
    logger.log_metrics({"loss": 0.5}, step=3)
    logger.experiment.add_scalar("more", 0.25, 3)
    logger.finalize("success")
    assert len(list((tmp_path / "a" / "b").glob("events.*"))) == 1


def test_what_is_called_on_the_experiment_itself_does_not_raise_either(caplog: pytest.LogCaptureFixture) -> None:
    logger = Faulty("none")
    assert guarded(logger).experiment.add_image(1) is None  # type: ignore[attr-defined]  # of this logger
    assert logger.calls == ["experiment", "add_image"]
    assert "Faulty failed (add_image: TimeoutError: the server does not answer)" in caplog.text


def test_what_a_library_handles_itself_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    class Retries(Faulty):
        def log_graph(self, *args: Any, **kwargs: Any) -> None:
            try:
                self.save()
            except OSError:
                self.calls.append("handled")

    logger = Retries("save")
    guarded(logger).log_graph(nn.Identity())  # type: ignore[attr-defined]  # Lightning's base class has it untyped
    assert logger.calls == ["save", "handled"]
    assert not caplog.records


def test_a_logger_whose_failures_take_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 10_000, 25))  # every call takes 25 seconds
    monkeypatch.setattr(under_test.time, "monotonic", lambda: next(clock))
    logger = Faulty("log_metrics")
    for step in range(5):
        guarded(logger).log_metrics({"loss": 1.0}, step)
    assert logger.calls.count("log_metrics") == 3  # 75 seconds
    assert "Faulty is disabled: 3 failures took 75 seconds" in caplog.text


def test_work_for_a_logger_counts_as_its_own(caplog: pytest.LogCaptureFixture) -> None:
    def draw(value: int) -> int:
        return 1 // value

    assert attempt(guarded(Faulty("none")), "figure", draw, 1) == 1
    assert attempt(guarded(Faulty("none")), "figure", draw, 0) is None
    assert "Faulty failed (figure: ZeroDivisionError" in caplog.text
    with pytest.raises(ZeroDivisionError):
        attempt(Faulty("none"), "figure", draw, 0)


def test_interrupts_pass() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(guarded(Faulty("none")), "figure", interrupt)


def test_a_guarded_logger_can_be_sent_to_a_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("where the folder should be")
    copy = pickle.loads(pickle.dumps(guarded(CSVLogger(tmp_path / "logs"))))
    assert isinstance(copy, CSVLogger)
    copy.log_metrics({"loss": 1.0})
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
