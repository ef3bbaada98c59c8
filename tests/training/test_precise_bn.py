"""Statistics of batch norms against those worked out from the same batches, and that nothing else changes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones.batch_norm import set_batch_norm
from videonl.errors import UserError
from videonl.training import ClipModule, FreezeBackbone, PreciseBatchNorm
from videonl.training.moments import Moments, merged

Train = Callable[..., ClipModule]
NORMS = (1, 4)


class Watch(Callback):
    """Notes the clips of each step, and the random numbers that would come next."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[int], float, int]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        drawn = int(torch.get_rng_state().sum())
        self.seen.append((trainer.current_epoch, [], 0.0, drawn))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append((trainer.current_epoch, batch["video"], float(batch["clip"].double().sum()), 0))


def batches_of(module: ClipModule, epoch: int) -> Iterator[Tensor]:
    loader = module.trainer.datamodule.training_loader()
    loader.set_epoch(epoch)
    for batch in loader:
        yield (batch["clip"].double() / 255 - 0.45) / 0.225


def by_hand(module: ClipModule, epoch: int, num_batches: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of what each norm is given, all batches put together; each is normalized on its own."""
    network = module.network.double()
    given: list[list[Tensor]] = [[], []]
    for clip in [*batches_of(module, epoch)][:num_batches]:
        first = network[0](clip)
        normalized = F.batch_norm(first, None, None, network[1].weight, network[1].bias, training=True)
        given[0].append(first)
        given[1].append(network[3](normalized.relu()))
    channels = [torch.cat(parts).transpose(0, 1).flatten(1).detach() for parts in given]
    return [(values.mean(dim=1), values.var(dim=1)) for values in channels]


def assert_statistics(module: ClipModule, expected: list[tuple[Tensor, Tensor]]) -> None:
    for index, (mean, variance) in zip(NORMS, expected, strict=True):
        norm = module.network[index]
        torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-5, atol=1e-6)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    torch.manual_seed(3)
    parts = [
        100 + torch.randn(batch, 7, frames, 5, 3, dtype=torch.float64) for batch, frames in ((2, 3), (1, 11), (5, 2))
    ]
    whole = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)
    moments, others = Moments(), Moments()
    for part in parts:
        moments(nn.Identity(), (part,))
    others(nn.Identity(), (parts[1],))
    count, mean, squares = moments.total
    assert count.tolist() == [whole.shape[1]] * 7
    torch.testing.assert_close(mean, whole.mean(dim=1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(squares / count, whole.var(dim=1, correction=0), rtol=1e-10, atol=1e-10)
    again = torch.cat([whole, parts[1].transpose(0, 1).flatten(1)], dim=1)
    _, mean, squares = merged(moments.total, others.total)
    torch.testing.assert_close(mean, again.mean(dim=1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(squares / again.shape[1], again.var(dim=1, correction=0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("val", [True, False])
def test_statistics_are_those_of_the_epochs_batches(train: Train, val: bool, tmp_path: Path) -> None:
    module = train([PreciseBatchNorm()], val=val)
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    assert_statistics(module, by_hand(module, epoch=1))
    for index in NORMS:
        assert torch.equal(saved[f"network.{index}.running_var"].double(), module.network[index].running_var)


def test_statistics_are_those_of_the_first_batches_asked_for(train: Train) -> None:
    module = train([PreciseBatchNorm(num_batches=2)])
    assert_statistics(module, by_hand(module, epoch=1, num_batches=2))


def test_compiled_networks_are_measured_too(train: Train, network: nn.Sequential) -> None:
    network.compile(backend="eager")
    module = train([PreciseBatchNorm()], network=network)
    assert_statistics(module, by_hand(module, epoch=1))


def test_moving_averages_are_something_else(train: Train) -> None:
    module = train()
    with pytest.raises(AssertionError):
        assert_statistics(module, by_hand(module, epoch=1))


def test_nothing_else_of_the_training_changes(train: Train) -> None:
    plain, precise = Watch(), Watch()
    without, with_it = train([plain]), train([precise, PreciseBatchNorm()])
    assert plain.seen == precise.seen
    assert len(plain.seen) == 12
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_it.state_dict()[name]) != ("running" in name)
    assert [part.training for part in with_it.modules()] == [part.training for part in without.modules()]


@pytest.mark.parametrize("until_step", [2, 3, 4])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(train: Train, until_step: int) -> None:
    whole = train([PreciseBatchNorm()])
    train([PreciseBatchNorm()], folder="parts", until_step=until_step)
    resumed = train([PreciseBatchNorm()], folder="parts", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("mode", ["frozen", "affine"])
def test_norms_without_statistics_of_their_own_stay(train: Train, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from videonl.training.callbacks import precise_bn

    monkeypatch.setattr(precise_bn, "_loader", lambda trainer: pytest.fail("clips were read for nothing"))
    network = nn.Sequential(
        nn.Conv3d(3, 5, 1), nn.BatchNorm3d(5), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, 3)
    )
    set_batch_norm(network, mode)
    before = network[1].running_var.clone()
    module = train([PreciseBatchNorm()], network=network)
    assert torch.equal(module.network[1].running_var, before)


def test_a_frozen_backbone_keeps_its_statistics(train: Train) -> None:
    module = train([FreezeBackbone(num_epochs=2), PreciseBatchNorm()])
    for index in NORMS:
        assert not module.network[index].running_mean.any()
        assert (module.network[index].running_var == 1).all()


def test_averaged_weights_get_statistics_of_their_own(train: Train, tmp_path: Path) -> None:
    module = train([EMAWeightAveraging(decay=0.5), PreciseBatchNorm()])
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    current = saved["current_model_state"]["network.0.weight"]
    assert not torch.equal(saved["state_dict"]["network.0.weight"], current)
    module.load_state_dict(saved["state_dict"])
    assert_statistics(module, by_hand(module, epoch=1))


def test_averaging_is_named_first(train: Train) -> None:
    with pytest.raises(UserError, match="before PreciseBatchNorm"):
        train([PreciseBatchNorm(), EMAWeightAveraging(decay=0.5)])


def test_no_batches_are_refused() -> None:
    with pytest.raises(UserError, match="got 0"):
        PreciseBatchNorm(num_batches=0)
