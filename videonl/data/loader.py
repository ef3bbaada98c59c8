"""Settings for loading batches, and a data loader that resumes mid-epoch."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader

from videonl.data.fetch_ahead import Foreseen
from videonl.data.reading.decoding import check_decoder
from videonl.data.samplers import MultigridBatches, TrainingSampler, rank_and_world_size
from videonl.errors import MOST_SECONDS, MOST_WORKERS, UserError, require_within
from videonl.runtime.kept_files import KeptFiles
from videonl.runtime.own_modules import find_own_modules, folders_of_own_modules
from videonl.runtime.parallel import end_with_starter, safe_context

MOST_CLIPS = 10**6  # of a batch
MOST_GB = 10**6
MOST_SEED = 2**32 - 1  # numpy's
_FEW = 5
# What torch says in the worker, where it can, and in the process that waits for it.
_SIGNS_OF_FULL_MEMORY = (
    "out of shared memory",
    "Bus error",
    "unable to write to file </torch_",
    "unable to allocate shared memory",
)


@dataclass(frozen=True)
class Loading:
    """Settings for loading batches.

    Args:
        batch_size: Number of clips per batch and process. In evaluation the views of a video stay together, so a batch
            has at most this many views, or one video.
        num_workers: Number of worker processes that decode; 0 decodes in the main process.
        decoder: The video decoder: auto, pyav, decord or torchcodec.
        seed: Seed of the order of the clips and of all randomness in them.
        clips_per_video: Number of random clips taken from each video that is decoded for training (repeated
            augmentation; Hoffer et al., 2020, arXiv 1901.09335). A batch then has batch_size / clips_per_video videos,
            and an epoch clips_per_video times as many clips as there are videos.
        time_limit_seconds: Time limit for reading a clip. Beyond it, the file counts as unreadable, and the process
            that reads it is ended. 0 sets no limit, and there is none without workers or outside of Linux.
        max_failed_share: Share of the videos that may be unreadable, and of the training videos that may have a label
            outside the classes. By default 0.1 in a training, which stops beyond it and lists them; 5 are always
            allowed. By default 0 in a test, validation or prediction, which otherwise ends with exit code 1 after it
            has written its results.
        cache_gb: How many gigabytes of videos from a bucket this machine keeps, so that further epochs and runs need
            not fetch them again. 0 keeps none. What this run does not read gives way when that is full.
        cache_folder: Where it keeps them; runs may share it.
    """

    batch_size: int = 8
    num_workers: int = 2
    decoder: str = "auto"
    seed: int = 0
    clips_per_video: int = 1
    time_limit_seconds: float = 60.0
    max_failed_share: float | None = None
    cache_gb: float = 0.0
    cache_folder: str = "~/.cache/videonl"

    def __post_init__(self) -> None:
        require_within(1, MOST_CLIPS, batch_size=self.batch_size, clips_per_video=self.clips_per_video)
        require_within(0, MOST_WORKERS, num_workers=self.num_workers)
        require_within(0, MOST_SECONDS, time_limit_seconds=self.time_limit_seconds)
        require_within(0, MOST_SEED, seed=self.seed)
        require_within(0, MOST_GB, cache_gb=self.cache_gb)
        if self.batch_size % self.clips_per_video:
            raise UserError(
                f"batch_size must be a multiple of clips_per_video {self.clips_per_video}, got {self.batch_size}"
            )
        if self.max_failed_share is not None and not 0 <= self.max_failed_share <= 1:
            raise UserError(f"max_failed_share must be in [0, 1], got {self.max_failed_share}")
        check_decoder(self.decoder)

    @property
    def kept(self) -> KeptFiles | None:
        """Where videos from a bucket are kept; None where none are."""
        if not self.cache_gb:
            return None
        return KeptFiles(Path(self.cache_folder).expanduser(), self.cache_gb * 1e9, replaces_older=True)

    @property
    def training_share(self) -> float:
        """Share of the videos that a training may do without."""
        return 0.1 if self.max_failed_share is None else self.max_failed_share


def are_too_many(num_failed: int, num_videos: int, max_share: float) -> bool:
    """Whether a run should stop because of the bad videos: more than the share, and more than 5."""
    return num_failed > max(_FEW, max_share * num_videos)


class ResumableLoader(DataLoader[Any]):
    """A data loader with the progress of the epoch as its state, from which it resumes.

    The trainer keeps the state in its checkpoints. What counts is batches handed out, not those that workers have
    loaded in advance; and since a sample is a function of (seed, epoch, index), nothing else need be known to go on.

    Args:
        dataset: Takes the keys of the sampler.
        sampler: Orders the videos.
        batches: Those of a multigrid training, from the same sampler.
        foresees: Whether a worker is told of its next batch with each, as videos in a bucket need.
        options: As of ``DataLoader``.

    Attributes:
        waited_seconds: For how long, in all, batches were waited for: what workers loaded in advance costs nothing.
        limit: How many batches of an epoch are trained on, or which share, as the trainer's ``limit_train_batches``.
    """

    def __init__(
        self,
        dataset: Any,
        sampler: TrainingSampler,
        batches: MultigridBatches | None = None,
        *,
        foresees: bool = False,
        **options: Any,
    ) -> None:
        order: dict[str, Any] = {"sampler": sampler} if batches is None else {"batch_sampler": batches}
        if foresees:
            size = options.pop("batch_size", None)
            plain: Any = batches
            if batches is None:
                plain = BatchSampler(sampler, size, drop_last=False)  # type: ignore[arg-type]  # its keys are no numbers
            order = {"batch_sampler": Foreseen(plain, options.get("num_workers", 0))}
        super().__init__(dataset, **order, **options)
        self.waited_seconds = 0.0
        self.limit: int | float = 1.0
        self._order, self._batches = sampler, batches
        self._num_batches_done = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises its own class of iterator
        self._num_batches_done = self._order.num_batches_done
        asked = time.perf_counter()
        for batch in super().__iter__():
            self.waited_seconds += time.perf_counter() - asked
            self._num_batches_done += 1
            yield batch
            asked = time.perf_counter()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the trainer does so through the sampler."""
        self._order.set_epoch(epoch)

    @property
    def is_through(self) -> bool:
        """Whether the epoch has no more batches to train on."""
        return self._num_batches_done >= self.num_batches

    def state_dict(self) -> dict[str, int | str]:
        """The progress in the epoch, and the settings on which it depends."""
        return {"epoch": self._order.epoch, "num_batches_done": self._num_batches_done, **self._counted_in()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the state of another loader.

        Raises:
            UserError: It was in the middle of an epoch, and counted in other batches.
        """
        differing = [
            f"{name} {state.get(name, 'none')}, now {value}"  # version 0.1 had neither balance nor multigrid
            for name, value in self._counted_in().items()
            if state.get(name, "none") != value
        ]
        is_over = state.get("is_over") or state["num_batches_done"] >= self.num_batches
        if differing and not is_over:
            raise UserError(
                "the checkpoint is from the middle of an epoch, which can only resume with the same settings: "
                f"{'; '.join(differing)}. Restore these settings, or resume from the end of an epoch"
            )
        self._order.begin_at(state["epoch"], state["num_batches_done"])

    @property
    def num_batches(self) -> int:
        """How many batches of an epoch are trained on."""
        return min(len(self), self.limit) if isinstance(self.limit, int) else int(len(self) * self.limit)

    def _counted_in(self) -> dict[str, int | str]:
        _, world_size = rank_and_world_size()
        order = self._order
        return {
            "videos": order.num_videos,
            "videos_per_batch": order.batch_size,
            "processes": world_size,
            "seed": order.seed,
            "balance": order.balance,
            "multigrid": "none" if self._batches is None else str(self._batches.schedule),
        }


@contextmanager
def naming_shared_memory() -> Iterator[None]:
    """Turns a lack of shared memory in worker processes into a clear error.

    Raises:
        UserError: The memory that processes share is full.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS_OF_FULL_MEMORY):
            raise
        raise UserError(
            "the worker processes ran out of shared memory (/dev/shm) for their batches. Make it larger (docker run "
            "--shm-size=8g), or use fewer workers or smaller batches"
        ) from error


def worker_options(num_workers: int, *modules: str) -> dict[str, Any]:
    """The arguments of a ``DataLoader`` that concern its workers.

    Args:
        num_workers: Number of workers.
        modules: What they need beside the data set, and would otherwise import each for itself.

    >>> sorted(worker_options(2))
    ['multiprocessing_context', 'num_workers', 'worker_init_fn']
    """
    if num_workers == 0:
        return {}
    context = safe_context("videonl.data.dataset", "torch.utils.data", *modules)
    start = partial(start_worker, folders_of_own_modules(), dict(os.environ))
    return {"num_workers": num_workers, "multiprocessing_context": context, "worker_init_fn": start}


def start_worker(own_modules: Mapping[str, str], environment: Mapping[str, str], worker: int) -> None:
    """Set up a worker process, which finds a user's modules in the same folders, and the same environment."""
    find_own_modules(own_modules)
    os.environ.update(environment)  # credentials may have been set since the server that forks workers began
    end_with_starter()
    # Workers are the parallelism; a thread per core in each of them would only contend.
    torch.set_num_threads(1)
