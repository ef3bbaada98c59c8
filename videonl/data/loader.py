"""A data loader that goes on in the middle of an epoch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from videonl.data.samplers import TrainingSampler, rank_and_world_size
from videonl.errors import UserError


class ResumableLoader(DataLoader[Any]):
    """Knows how far the epoch has been trained on, and begins there when it is given that state.

    The trainer keeps the state in its checkpoints. What counts is batches handed out, not those that workers have
    loaded in advance; and since a sample is a function of (seed, epoch, index), nothing else need be known to go on.

    Args:
        dataset: Takes the keys of the sampler.
        sampler: Orders the videos.
        options: As of ``DataLoader``.
    """

    def __init__(self, dataset: Any, sampler: TrainingSampler, **options: Any) -> None:
        super().__init__(dataset, sampler=sampler, **options)
        self._order = sampler
        self._num_batches_done = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises its own class of iterator
        self._num_batches_done = self._order.num_batches_done
        for batch in super().__iter__():
            self._num_batches_done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """How far the epoch is, and what that was counted in."""
        return {"epoch": self._order.epoch, "num_batches_done": self._num_batches_done, **self._counted_in()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin where another loader was.

        Raises:
            UserError: It was in the middle of an epoch, and counted in other batches.
        """
        differing = [
            f"{name} {state[name]}, now {value}" for name, value in self._counted_in().items() if state[name] != value
        ]
        if state["num_batches_done"] < len(self) and differing:
            raise UserError(
                "the checkpoint was taken in the middle of an epoch, which can only go on as it was begun: "
                f"{'; '.join(differing)}. Restore these settings, or resume from the end of an epoch"
            )
        self._order.begin_at(state["epoch"], state["num_batches_done"])

    def _counted_in(self) -> dict[str, int]:
        _, world_size = rank_and_world_size()
        order = self._order
        return {
            "videos": order.num_videos,
            "videos_per_batch": order.batch_size,
            "processes": world_size,
            "seed": order.seed,
        }


def start_worker(worker: int) -> None:
    """Set up a worker process."""
    # Workers are the parallelism; a thread per core in each of them would only contend.
    torch.set_num_threads(1)
