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


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_a_step_takes_the_same_videos_whatever_the_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, world_size: int, batch_size: int
) -> None:
    sampler = TrainingSampler(23, seed=3, batch_size=batch_size)  # built before the processes know each other
    whole = order(TrainingSampler(23, seed=3), 1)
    shards = []
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        shards.append(order(sampler, 1))
        assert len(shards[-1]) == len(sampler) == 3 * batch_size
    for step in range(3):
        videos = {index for shard in shards for index in shard[step * batch_size : (step + 1) * batch_size]}
        assert videos == set(whole[step * 6 : (step + 1) * 6])


@pytest.mark.parametrize("world_size", [2, 3, 13])
def test_fewer_videos_than_a_step_are_visited_whole(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    sampler = TrainingSampler(11, seed=3, batch_size=7)
    shards = []
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        shards.append(order(sampler, 0))
        assert len(shards[-1]) == len(sampler) == -(-11 // world_size)
    assert set(chain.from_iterable(shards)) == set(range(11))


def test_an_epoch_can_begin_in_its_middle_and_the_next_is_whole() -> None:
    whole, sampler = TrainingSampler(11, seed=5, batch_size=2), TrainingSampler(11, seed=5, batch_size=2)
    sampler.begin_at(3, num_batches=4)
    assert (sampler.epoch, sampler.num_batches_done, len(sampler)) == (3, 4, 10)
    assert order(sampler, 3) == order(whole, 3)[8:]
    assert order(sampler, 4) == order(whole, 4)
    assert sampler.num_batches_done == 0


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_evaluation_batches_are_the_same_for_any_world_size(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    batches = []
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        sampler = EvaluationBatchSampler(11, batch_size=3)
        batches.extend(list(sampler))
        assert len(list(sampler)) == len(sampler) > 0  # an empty batch where there is none for the process
    assert sorted(batch for batch in batches if batch) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]


def test_without_videos_there_is_no_batch() -> None:
    assert len(EvaluationBatchSampler(0, batch_size=3)) == len(list(EvaluationBatchSampler(0, batch_size=3))) == 0
