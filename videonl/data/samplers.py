"""In which order videos are visited, and by which process.

Both samplers ask ``torch.distributed`` for rank and world size when they are iterated, not when they are built: data
loaders are often built before the processes know each other. The trainer must leave them as they are
(``use_distributed_sampler=False``).
"""

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.distributed
from torch.utils.data import Sampler

from videonl.data.multigrid import Grid
from videonl.data.multigrid_schedule import MultigridSchedule


def rank_and_world_size() -> tuple[int, int]:
    """Which process this is, and of how many."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class Draw(NamedTuple):
    """One video of a batch: the epoch, its index, and the sampling grid of its clips in a multigrid training.

    There the epoch is the number of times that all videos have come before.
    """

    epoch: int
    video: int
    grid: Grid | None = None


class TrainingSampler(Sampler[tuple[int, int]]):
    """Every video once per epoch, or as often as it weighs, in an order that depends on the seed and the epoch alone.

    Yields ``(epoch, index)``, so that the data set can make every random choice a pure function of both. Process r of w
    takes positions r, r + w, ... of the order, so a step of all processes together takes consecutive positions: which
    videos those are depends on their number in the step, not on the number of processes.

    The last videos of the order, too few for a whole step, are left out of the epoch: a smaller last batch skews batch
    norm. A data set smaller than one step is visited whole, padded from its beginning so that all take equally many.

    Args:
        num_videos: Number of videos.
        seed: Seed of the order.
        batch_size: Number of videos per batch and process.
        draws: From a generator to the order of an epoch, of ``num_videos`` numbers; see
            :func:`videonl.data.balance.balanced_order`. By default each video comes once.
        balance: What these draws are called.
    """

    def __init__(
        self,
        num_videos: int,
        seed: int = 0,
        batch_size: int = 1,
        draws: Callable[[torch.Generator], list[int]] | None = None,
        balance: str = "none",
    ) -> None:
        self.draws, self.balance = draws, balance
        self.num_videos = num_videos
        self.seed = seed
        self.batch_size = batch_size
        self.epoch = 0
        self._begun = (-1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the trainer calls this before each."""
        self.epoch = epoch

    def begin_at(self, epoch: int, num_batches: int) -> None:
        """Leave out the first batches of an epoch, which were trained on before; ``len`` stays that of a whole one."""
        self.epoch = epoch
        self._begun = (epoch, num_batches)

    @property
    def num_batches_done(self) -> int:
        """How many batches the next iteration leaves out."""
        epoch, num_batches = self._begun
        return num_batches if epoch == self.epoch else 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rank, world_size = rank_and_world_size()
        epoch, order = self.epoch, self.order(self.epoch)
        for place in range(self.num_batches_done * self.batch_size, len(self)):
            yield epoch, order[(rank + place * world_size) % self.num_videos]

    def __len__(self) -> int:
        _, world_size = rank_and_world_size()
        num_steps = self.num_videos // (self.batch_size * world_size)
        return num_steps * self.batch_size or -(-self.num_videos // world_size)

    def order(self, epoch: int) -> list[int]:
        """All indices of an epoch, for all processes together."""
        # Large odd multiplier: neighboring seeds must not share their epochs' orders (seed 0 epoch 1, seed 1 epoch 0).
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        if self.draws is not None:
            return self.draws(generator)
        order: list[int] = torch.randperm(self.num_videos, generator=generator).tolist()
        return order


class MultigridBatches(Sampler[list[Draw]]):
    """Batches of a multigrid training, whose number of clips and grid depend on the step alone.

    An epoch has as many steps as one of full-size batches. The videos come in one order after another, through steps
    and epochs without a gap, so none are left out. A step of all processes takes consecutive ones, as with
    :class:`TrainingSampler`.

    Args:
        sampler: Orders the videos, and has the epoch and the progress in it; its batch size is that of full size.
        schedule: The shape of the batch of every step.
    """

    def __init__(self, sampler: TrainingSampler, schedule: MultigridSchedule) -> None:
        self.sampler = sampler  # where the trainer looks for the one whose epoch it sets
        self.schedule = schedule

    def __iter__(self) -> Iterator[list[Draw]]:
        rank, world_size = rank_and_world_size()
        sampler, order = self.sampler, lru_cache(2)(self.sampler.order)
        for batch in range(sampler.num_batches_done, len(self)):
            step = self.schedule.step(sampler.epoch, batch)
            factor, _, grid = self.schedule.shape(step)
            begin = self.schedule.factors_before(step) * sampler.batch_size * world_size + rank
            places = range(begin, begin + factor * sampler.batch_size * world_size, world_size)
            passes = (divmod(place, sampler.num_videos) for place in places)
            yield [Draw(epoch, order(epoch)[place], grid) for epoch, place in passes]

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.sampler.batch_size)


class EvaluationBatchSampler(Sampler[list[int]]):
    """Batches of consecutive videos; process r of w takes batches r, r + w, ...

    Nothing is padded, so no video counts twice, and a batch holds the same videos whatever the number of processes.
    Processes may therefore differ by one in their number of batches. One for which there is none has an empty one: it
    must take part in what the processes do together at an evaluation's end, and the trainer refuses a loader without.

    Args:
        num_videos: Number of videos.
        batch_size: Number of videos per batch; the last batch may be smaller.
        done: Videos that need not come; a batch of such alone is left out.
    """

    def __init__(self, num_videos: int, batch_size: int, done: Collection[int] = ()) -> None:
        self.num_videos = num_videos
        self.batch_size = batch_size
        self.done = frozenset(done)

    def __iter__(self) -> Iterator[list[int]]:
        yield from self._batches()

    def __len__(self) -> int:
        return len(self._batches())

    def _batches(self) -> list[list[int]]:
        rank, world_size = rank_and_world_size()
        every = [
            list(range(first, min(first + self.batch_size, self.num_videos)))
            for first in range(rank * self.batch_size, self.num_videos, world_size * self.batch_size)
        ]
        left = [batch for batch in every if not self.done.issuperset(batch)]
        return left or [[]] * min(self.num_videos, 1)
