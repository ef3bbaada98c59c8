from itertools import chain

import pytest
import torch.distributed

from videonl.data.samplers import EvaluationBatchSampler, TrainingSampler


def as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world_size)


def order(sampler: TrainingSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert {key[0] for key in keys} == {epoch}
    return [index for _, index in keys]


def test_each_epoch_is_another_permutation_and_repeats() -> None:
    orders = {(seed, epoch): order(TrainingSampler(11, seed), epoch) for seed in range(3) for epoch in range(3)}
    assert all(sorted(indices) == list(range(11)) for indices in orders.values())
    assert len({tuple(indices) for indices in orders.values()}) == 9
    assert order(TrainingSampler(11, 2), 1) == orders[2, 1]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 13])
def test_training_shards_interleave_to_the_one_order(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    sampler = TrainingSampler(11, seed=3)  # built before the processes know each other
    whole = order(sampler, 1)
    shards = []
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        shards.append(order(sampler, 1))
        assert len(shards[-1]) == len(sampler) == -(-11 // world_size)
    interleaved = list(chain.from_iterable(zip(*shards, strict=True)))
    assert interleaved[:11] == whole
    assert interleaved[11:] == whole[: len(interleaved) - 11]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_evaluation_batches_are_the_same_for_any_world_size(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    batches = []
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        sampler = EvaluationBatchSampler(11, batch_size=3)
        batches.extend(list(sampler))
        assert len(list(sampler)) == len(sampler)
    assert sorted(batches) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]
