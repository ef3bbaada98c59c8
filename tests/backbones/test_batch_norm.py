"""What each mode of batch norm keeps, learns and loads."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from videonl.backbones.batch_norm import AffineNorm3d, FrozenBatchNorm3d, set_batch_norm
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.runtime.parallel import safe_context

MODES = ["trained", "synchronized", "frozen", "affine"]


def network() -> nn.Sequential:
    torch.manual_seed(3)
    built = nn.Sequential(
        nn.Conv3d(3, 5, (1, 3, 3)), nn.BatchNorm3d(5), nn.ReLU(), nn.Conv3d(5, 7, 1), nn.BatchNorm3d(7)
    )
    for norm in (built[1], built[4]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.bias)
    return built.double()


def clips(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 5, 7, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("saved", MODES)
@pytest.mark.parametrize("loading", MODES)
def test_checkpoints_of_every_mode_load_into_every_other(saved: str, loading: str) -> None:
    one, other = network(), network()
    expected = one.eval()(clips())
    set_batch_norm(one, saved)
    set_batch_norm(other, loading)
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    assert list(one.state_dict()) == list(network().state_dict())
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.eval()(clips()), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", ["frozen", "affine"])
def test_fixed_statistics_stay_through_training(mode: str) -> None:
    built = network()
    expected = built.eval()(clips())
    set_batch_norm(built, mode)
    built.train()
    before = {key: value.clone() for key, value in built.state_dict().items()}
    y = built(clips())
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    y.square().sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in built.state_dict().items())
    assert [built[1].weight.requires_grad, built[1].bias.requires_grad] == [mode == "affine"] * 2
    assert built[0].weight.grad.abs().sum() > 0


def test_affine_is_a_scale_and_a_bias() -> None:
    norm = network()[1].eval()
    x = torch.randn(2, 5, 3, 7, 11, dtype=torch.float64)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().requires_grad_()
    bias = (norm.bias - norm.running_mean * scale).detach().requires_grad_()
    expected = x * scale.reshape(-1, 1, 1, 1) + bias.reshape(-1, 1, 1, 1)
    set_batch_norm(norm, "affine")
    assert type(norm) is AffineNorm3d
    y = norm.train()(x)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    for ours, truth in zip(
        torch.autograd.grad(y.square().sum(), [norm.weight, norm.bias]),
        torch.autograd.grad(expected.square().sum(), [scale, bias]),
        strict=True,
    ):
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-10)


def test_a_resumed_affine_network_is_the_same_to_the_last_digit() -> None:
    built = network().float()
    set_batch_norm(built, "affine")
    again = network().float()
    set_batch_norm(again, "affine")
    again.load_state_dict(built.state_dict())
    assert all(torch.equal(value, built.state_dict()[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("mode", MODES)
def test_blocks_start_as_the_identity_and_can_leave_it(mode: str) -> None:
    torch.manual_seed(3)
    plain = ClipClassifier("c2d_r50", 7, width=4, dropout=0.0, batch_norm=mode)
    torch.manual_seed(3)
    extended = ClipClassifier(
        "c2d_r50", 7, [Insertion("nonlocal", {"res3": [1]})], width=4, dropout=0.0, batch_norm=mode
    )
    extended.load_state_dict(plain.state_dict(), strict=False)
    clip = torch.randn(2, 3, 4, 32, 32)
    logits = extended.train()(clip)
    assert torch.equal(logits, plain.train()(clip))
    logits.square().sum().backward()
    gamma = extended.blocks["res3.1"].norm.weight
    assert gamma.requires_grad and not gamma.any()
    frozen = [module for module in extended.modules() if type(module) is FrozenBatchNorm3d]
    assert len(frozen) == (53 if mode == "frozen" else 0)


def test_unknown_mode_lists_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"'fixed'.*trained, synchronized, frozen, affine"):
        set_batch_norm(network(), "fixed")


def _train(rank: int, rendezvous: str, results: Any) -> None:
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    built = network().train()
    set_batch_norm(built, "synchronized")
    parallel = DistributedDataParallel(built)
    share = clips(5)[:2] if rank == 0 else clips(5)[2:]
    y = parallel(share)
    # DistributedDataParallel divides gradients by the number of processes.
    (2 * y.square().sum()).backward()
    gradients = [parameter.grad for parameter in built.parameters()]
    torch.save((y.detach(), gradients, built.state_dict()), f"{results}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such server")
def test_two_processes_are_one_batch(tmp_path: Path) -> None:
    whole = network().train()
    y = whole(clips(5))
    y.square().sum().backward()
    safe_context("videonl.models")  # whose server imports once for both
    multiprocessing.start_processes(
        _train, (f"file://{tmp_path / 'rendezvous'}", str(tmp_path)), nprocs=2, start_method="forkserver"
    )
    shares, gradients, states = zip(*(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)), strict=True)
    torch.testing.assert_close(torch.cat(shares), y.detach(), rtol=1e-10, atol=1e-10)
    for rank in range(2):
        for ours, parameter in zip(gradients[rank], whole.parameters(), strict=True):
            torch.testing.assert_close(ours, parameter.grad, rtol=1e-8, atol=1e-8)
        for key, value in whole.state_dict().items():
            torch.testing.assert_close(states[rank][key], value, rtol=1e-10, atol=1e-10)


def test_synchronized_in_one_process_is_batch_norm() -> None:
    plain, synchronized = network().train(), network().train()
    set_batch_norm(synchronized, "synchronized")
    assert torch.equal(synchronized(clips()), plain(clips()))
    twin = copy.deepcopy(synchronized).state_dict()
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in twin.items())


@pytest.mark.parametrize("mode", ["trained", "synchronized"])
def test_lightnings_synchronized_norms_keep_keys_and_results(mode: str) -> None:
    built = network()
    set_batch_norm(built, mode)
    expected, keys = built.eval()(clips()), list(built.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(built)  # what trainer.sync_batchnorm does
    assert {type(converted[index]) for index in (1, 4)} == {nn.SyncBatchNorm}
    assert list(converted.state_dict()) == keys
    torch.testing.assert_close(converted(clips()), expected, rtol=1e-10, atol=1e-10)
