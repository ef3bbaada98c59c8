"""Multigrid training: rates, statistics of norms, and resuming, in real trainings of a small network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from videonl.data.augmentation import Augmentation
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.multigrid import Multigrid
from videonl.data.multigrid_schedule import MultigridSchedule
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.training import ClipModule, LastCheckpoint, Optimization, PreciseBatchNorm, SeedSteps
from videonl.training.callbacks import MultigridShapes
from videonl.training.multigrid_limits import require_multigrid
from videonl.training.schedule import Schedule, lr_factor, multigrid_factor

CLIP = ClipFormat(num_frames=4, stride_frames=2, short_side_px=29, crop_px=24)
SETTINGS = Multigrid(cycle_ends=(0.7,))
STEPS = 9  # of 3 epochs: 7 videos in batches of 2


class PowerCutError(Exception):
    pass


class Recorder(Callback):
    """Notes each batch and its rate, and raises before one step."""

    def __init__(self, until_step: int | None) -> None:
        self.until_step = until_step
        self.seen: list[tuple[tuple[int, ...], list[int], float, float]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.until_step:
            raise PowerCutError
        rate, clip = trainer.optimizers[0].param_groups[0]["lr"], batch["clip"]
        self.seen.append((tuple(clip.shape), batch["video"], float(clip.double().sum()), rate))


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(5, 3)]
    return nn.Sequential(nn.Conv3d(3, 5, (1, 3, 3)), nn.BatchNorm3d(5), nn.ReLU(), *head)


@pytest.fixture
def fit(video_folder: Path, tmp_path: Path) -> Callable[..., tuple[Recorder, ClipModule]]:
    def run(
        until_step: int | None = None,
        resume: bool = False,
        folder: str = "run",
        callbacks: tuple[Callback, ...] = (),
        num_workers: int = 0,
        **options: Any,
    ) -> tuple[Recorder, ClipModule]:
        loading = Loading(batch_size=2, num_workers=num_workers, decoder="pyav")
        augmentation = Augmentation(short_side_px=(24, 37))
        source = str(video_folder)
        data = ClipDataModule(source, clip=CLIP, augmentation=augmentation, loading=loading, multigrid=SETTINGS)
        optimization = Optimization(lr=0.01, schedule="step", milestone_fractions=(0.85,))
        module = ClipModule(small_network(), data.class_names, CLIP, optimization, channels_last=False)
        recorder = Recorder(until_step)
        saving = LastCheckpoint(tmp_path / folder / "last.ckpt", 1)
        trainer = Trainer(
            accelerator="cpu",
            callbacks=[recorder, SeedSteps(5), saving, *callbacks],
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **{"max_epochs": 3, "logger": False, **options},
        )
        checkpoint = tmp_path / folder / "last.ckpt" if resume else None
        if until_step is None:
            trainer.fit(module, data, ckpt_path=checkpoint)
        else:
            with pytest.raises(PowerCutError):
                trainer.fit(module, data, ckpt_path=checkpoint)
        return recorder, module

    return run


@pytest.mark.parametrize(("stop", "num_workers"), [(2, 0), (3, 0), (4, 2), (7, 0)])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    fit: Callable[..., Any], stop: int, num_workers: int
) -> None:
    whole, one = fit(folder="whole", num_workers=num_workers)
    before, _ = fit(stop, folder="parts", num_workers=num_workers)
    after, two = fit(folder="parts", resume=True, num_workers=num_workers)
    assert len(whole.seen) == STEPS and len(before.seen) == stop
    assert before.seen + after.seen == whole.seen
    assert all(torch.equal(two.state_dict()[name], value) for name, value in one.state_dict().items())


def test_shapes_and_rates_are_those_of_the_schedule(fit: Callable[..., Any]) -> None:
    recorder, _ = fit()
    schedule = MultigridSchedule(SETTINGS, CLIP, STEPS, 3)
    assert [seen[0] for seen in recorder.seen] == [
        (2 * factor, 3, grid.num_frames, grid.crop_px, grid.crop_px)
        for factor, _, grid in map(schedule.shape, range(STEPS))
    ]
    rates = [0.01 * schedule.rate(step) * (0.1 if step >= 0.85 * STEPS else 1) for step in range(STEPS)]
    assert [seen[3] for seen in recorder.seen] == pytest.approx(rates, rel=1e-12)
    assert rates[0] == 0.08 and rates[-1] == 0.001


def test_norms_take_statistics_over_sub_batches(fit: Callable[..., Any]) -> None:
    """The first step against a naive one: 8 sub-batches, each of which moves the running statistics in turn."""
    batches: list[Any] = []

    class Keep(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            batches.append(batch)

    _, module = fit(max_steps=1, callbacks=(Keep(),))
    schedule = MultigridSchedule(SETTINGS, CLIP, 1, 3)
    shape = schedule.shape(0)
    assert len(batches[0]["clip"]) == 2 * shape.factor
    first = small_network()
    clips = (batches[0]["clip"].double() / 255 - 0.45) / 0.225
    convolved = nn.functional.conv3d(clips, first[0].weight.double(), first[0].bias.double())
    mean, variance = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    for part in convolved.split(2 * shape.factor // shape.num_parts):
        channels = part.transpose(0, 1).flatten(1)
        mean, variance = 0.9 * mean + 0.1 * channels.mean(1), 0.9 * variance + 0.1 * channels.var(1)
    norm = module.network[1]
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-5, atol=1e-6)
    assert int(norm.num_batches_tracked) == shape.num_parts


def test_the_loss_is_that_of_the_parts_together() -> None:
    torch.manual_seed(1)
    network = small_network().double().train()
    network[5].p = 0.0  # dropout draws for each part
    clips = torch.randn(8, 3, 2, 13, 13, dtype=torch.float64)
    together = torch.cat([network(part) for part in clips.chunk(4)])
    for number, part in enumerate(clips.split(2)):
        convolved = network[0](part)
        dims = (0, 2, 3, 4)
        mean, variance = convolved.mean(dims, keepdim=True), convolved.var(dims, correction=0, keepdim=True)
        pooled = ((convolved - mean) / (variance + 1e-5).sqrt()).relu().mean((2, 3, 4))
        naive = pooled @ network[6].weight.T + network[6].bias
        torch.testing.assert_close(together[2 * number : 2 * number + 2], naive, rtol=1e-10, atol=1e-10)


def test_precise_statistics_are_those_of_full_size_clips(fit: Callable[..., Any]) -> None:
    _, module = fit(callbacks=(PreciseBatchNorm(),))
    loader = module.trainer.datamodule.training_loader()
    loader.set_epoch(2)
    clips = torch.cat([batch["clip"] for batch in loader])
    assert clips.shape == (6, 3, 4, 24, 24)
    convolved = module.network[0]((clips.float() / 255 - 0.45) / 0.225)
    torch.testing.assert_close(module.network[1].running_mean, convolved.mean((0, 2, 3, 4)), rtol=1e-4, atol=1e-5)


def test_the_shape_is_logged(fit: Callable[..., Any], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="logs", version=0)
    recorder, _ = fit(callbacks=(MultigridShapes(),), logger=logger, log_every_n_steps=1)
    rows = (tmp_path / "logs" / "version_0" / "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    logged = [dict(zip(names, row.split(","), strict=True)) for row in rows[1:]]
    shapes = [
        tuple(int(float(row[f"multigrid/{name}"])) for name in ("clips", "num_frames", "crop_px"))
        for row in logged
        if row["multigrid/clips"]
    ]
    assert shapes == [(shape[0], shape[2], shape[3]) for shape, *_ in recorder.seen]


def test_the_rate_of_accumulated_batches_is_that_of_the_first() -> None:
    schedule = MultigridSchedule(Multigrid(cycle_ends=(0.8,)), CLIP, 50, 5)
    factor = multigrid_factor(lr_factor(Schedule(schedule="constant"), 30), schedule, 2)
    # 5 batches are 3 optimizer steps an epoch; the long cycle's phases begin at batches 0, 10, 20, 30, 40.
    assert [factor(step) for step in (0, 5, 6, 11, 12, 17, 18, 29)] == [8, 8, 4, 4, 2, 2, 1, 1]


def test_a_training_of_unknown_length_is_refused(video_folder: Path) -> None:
    data = ClipDataModule(
        str(video_folder), clip=CLIP, augmentation=Augmentation(short_side_px=(24, 37)), multigrid=SETTINGS
    )
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    with pytest.raises(UserError, match=r"needs a known number of steps: set --trainer\.max_epochs"):
        data.multigrid_schedule(Trainer(max_epochs=-1, **options))
    by_steps = data.multigrid_schedule(Trainer(max_steps=11, accumulate_grad_batches=2, max_epochs=-1, **options))
    assert by_steps is not None and by_steps.num_steps == 22


def test_clips_too_small_for_the_network_are_refused(video_folder: Path) -> None:
    network = nn.Sequential(nn.AvgPool3d((2, 16, 16)), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 3))
    augmentation = Augmentation(short_side_px=(24, 37))
    trainer = Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False)

    def data(settings: Multigrid) -> ClipDataModule:
        return ClipDataModule(str(video_folder), clip=CLIP, augmentation=augmentation, multigrid=settings)

    with pytest.raises(UserError, match=r"clips of 1 x 24 x 24, but num_frames must be at least 2"):
        require_multigrid(network, data(SETTINGS), trainer)
    half = ((0.5, 1.0),)
    with pytest.raises(UserError, match=r"clips of 2 x 12 x 12, but crop_px must be at least 16"):
        require_multigrid(network, data(Multigrid((0.5,), long_cycle=half)), trainer)
    require_multigrid(network, data(Multigrid((0.5,), long_cycle=half, short_cycle=(0.7071,))), trainer)
