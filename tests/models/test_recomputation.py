"""Gradient checkpointing changes what is kept, and no number."""

import copy
import pickle
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from videonl.errors import UserError
from videonl.models import ClipClassifier, Execution, Insertion

STAGES = ["res2", "res3", "res4", "res5"]
BLOCKS = [
    Insertion("nonlocal", {"res3": [1], "res4": [5]}),
    Insertion("asymmetric_pyramid", {"res4": [1]}, {"wrapper": "concat"}),  # with dropout
    Insertion("asymmetric_fusion", {"res5": [0, 2]}, low="res4"),
]


def classifier(checkpoint: list[str], batch_norm: str = "trained") -> ClipClassifier:
    torch.manual_seed(3)
    execution = Execution(checkpoint=checkpoint)
    network = ClipClassifier("i3d_r50", 7, BLOCKS, width=4, batch_norm=batch_norm, execution=execution)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".block.out." in name:  # some start at 0
                parameter.normal_(std=0.3)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.fill_(0.7)
    return network.double().to(memory_format=torch.channels_last_3d)


def clip(batch: int = 2) -> Tensor:
    clip = torch.randn(batch, 3, 5, 37, 41, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return clip.contiguous(memory_format=torch.channels_last_3d)


def step(network: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """Logits and gradients, with the same dropout every time."""
    torch.manual_seed(7)
    logits = network.train()(x)
    logits.square().sum().backward()
    return logits, [parameter.grad for parameter in network.parameters()]


@cache
def plain_step(batch_norm: str) -> tuple[Tensor, list[Tensor | None], dict[str, Tensor]]:
    """A step that keeps everything: logits, gradients, and the weights and statistics after it."""
    plain = classifier([], batch_norm)
    logits, gradients = step(plain, clip())
    return logits.detach(), gradients, plain.state_dict()


@pytest.mark.parametrize("batch_norm", ["trained", "synchronized", "frozen", "affine"])
@pytest.mark.parametrize("checkpoint", [STAGES, ["res4"], ["res5"], ["res2", "res3"]], ids="-".join)
def test_gradients_and_statistics_are_the_same(checkpoint: list[str], batch_norm: str) -> None:
    expected, gradients, state = plain_step(batch_norm)
    recomputing = classifier(checkpoint, batch_norm)
    logits, ours = step(recomputing, clip())
    assert torch.equal(logits, expected)
    for own, truth in zip(ours, gradients, strict=True):
        assert (own is None) == (truth is None)
        if truth is not None:
            torch.testing.assert_close(own, truth, rtol=1e-10, atol=1e-10)
    assert list(recomputing.state_dict()) == list(state)
    for key, value in recomputing.state_dict().items():  # the batch is counted once
        assert torch.equal(value, state[key]), key


def test_norms_count_the_next_batch_again() -> None:
    network = classifier(["res4"])
    for number in (1, 2, 3):
        step(network, clip())
        counts = {int(value) for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
        assert counts == {number}
    momenta = {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm3d)}
    assert sorted(momenta) == pytest.approx([0.1, 0.19])  # the second is that of the pyramid's shared norm


def kept_bytes(network: nn.Module) -> int:
    """What a forward keeps for backward, parameters aside; shared storages count once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        logits = network.train()(clip())
    del logits
    return sum(kept.values())


def test_less_is_kept_for_backward() -> None:
    nothing, one, all_stages = (kept_bytes(classifier(stages)) for stages in ([], ["res2"], STAGES))
    assert all_stages < 0.7 * nothing
    assert all_stages < one < nothing


def test_evaluation_recomputes_nothing() -> None:
    network = classifier(STAGES).eval()
    calls: list[nn.Module] = []
    network.blocks["res4.5"].register_forward_pre_hook(lambda module, inputs: calls.append(module))
    network(clip()).square().sum().backward()
    assert len(calls) == 1
    step(network, clip())
    assert len(calls) == 3


def test_nothing_of_a_step_is_kept() -> None:
    network = classifier(STAGES)
    step(network, clip())
    handovers = [module.low for module in network.modules() if getattr(module, "low", None) is not None]
    assert [handover.features for handover in handovers] == [None, None]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_recompute_too(duplicate) -> None:
    network = classifier(STAGES)
    expected, gradients = step(network, clip())
    twin = duplicate(network)
    twin.load_state_dict(classifier(STAGES).state_dict())
    twin.zero_grad()
    assert kept_bytes(twin) < 0.7 * kept_bytes(classifier([]))
    twin.load_state_dict(classifier(STAGES).state_dict())
    logits, ours = step(twin, clip())
    assert torch.equal(logits, expected)
    assert all(torch.equal(own, truth) for own, truth in zip(ours, gradients, strict=True))


def _train(rank: int, rendezvous: str, results: str) -> None:
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    gathered = []
    for checkpoint in ([], STAGES):
        parallel = DistributedDataParallel(classifier(checkpoint, "synchronized"))
        for _ in range(2):
            parallel.zero_grad()
            _, gradients = step(parallel, clip(5)[2 * rank : 2 * rank + 2 + rank])
        gathered.append((gradients, parallel.module.state_dict()))
    torch.save(gathered, f"{results}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_recompute_what_they_kept(tmp_path: Path) -> None:
    multiprocessing.start_processes(
        _train, (f"file://{tmp_path / 'rendezvous'}", str(tmp_path)), nprocs=2, start_method="spawn"
    )
    for rank in range(2):
        (gradients, state), (ours, own_state) = torch.load(tmp_path / f"{rank}.pt")
        for own, truth in zip(ours, gradients, strict=True):
            torch.testing.assert_close(own, truth, rtol=1e-10, atol=1e-10)
        assert all(torch.equal(value, state[key]) for key, value in own_state.items())


def test_unknown_stage_lists_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"'res6' in checkpoint.*res2, res3, res4, res5"):
        ClipClassifier("c2d_r50", 7, width=4, execution=Execution(checkpoint=["res6"]))


def test_checkpointing_and_compiling_exclude_each_other() -> None:
    with pytest.raises(UserError, match="checkpoint and compile"):
        ClipClassifier("c2d_r50", 7, width=4, execution=Execution(checkpoint=["res2"], compile=True))


def test_frozen_parts_are_recomputed_only_where_backward_passes() -> None:
    network = classifier(STAGES, "frozen").train()
    stem, res2, _, res3, res4 = network.network.blocks[:5]
    for frozen in (stem, res2, *(unit for unit in res4.res_blocks if not hasattr(unit, "block"))):
        frozen.requires_grad_(False).eval()
    calls: dict[str, int] = {}

    def count(name: str):
        return lambda *_: calls.update({name: calls.get(name, 0) + 1})

    # The last convolution of each: of a unit's own hooks only the first forward is seen.
    for name, stage in (("res2", res2), ("res3", res3), ("res4", res4)):
        stage.res_blocks[2].branch2.conv_c.register_forward_pre_hook(count(name))
    torch.manual_seed(7)
    network(clip()).square().sum().backward()
    assert calls == {"res2": 1, "res3": 2, "res4": 2}
