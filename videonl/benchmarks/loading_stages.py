"""Where the time of a clip goes, and whether reading leaves memory behind."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import av
from torch.utils.data import DataLoader

from videonl.benchmarks.loading_sides import CLIP, File, plain_transform
from videonl.benchmarks.memory import family_bytes
from videonl.data.batches import TrainingItem, collate_training
from videonl.data.dataset import TrainingClips
from videonl.data.loader import Loading, worker_options
from videonl.data.reading.decoding import open_video
from videonl.data.video import Video

_STAGES = ("read", "open", "decode", "color", "resize", "collate")
_WARM_UP_SHARE = 0.1
_MIB = 2**20


@dataclass(frozen=True)
class Stages:
    """Milliseconds of a clip, stage by stage.

    Attributes:
        case: Which files.
        milliseconds: ``read`` the whole file out of the system's cache (not part of the others), ``open`` it and find
            its frames, ``decode`` those asked for and what they depend on, ``color`` from YUV to RGB, ``resize`` with
            crop and mirror, ``collate`` by copying into a batch.
    """

    case: str
    milliseconds: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The stages as plain data."""
        return {"bench": "data", "case": f"stages, {self.case}"} | {f"{k}_ms": v for k, v in self.milliseconds.items()}


@dataclass(frozen=True)
class Memory:
    """Memory of a data loader after the first tenth of many reads, and at their end.

    It is that of its worker, of the process that decodes for it, and of this one; pages that they share count once.
    """

    num_reads: int
    before_mib: float
    after_mib: float

    @property
    def growth(self) -> float:
        """By what share memory grew."""
        return self.after_mib / self.before_mib - 1

    def as_json(self) -> dict[str, Any]:
        """The memory as plain data."""
        return {"bench": "data", "case": "memory", **asdict(self), "growth": self.growth}


def stages(case: str, files: Sequence[File], num_clips: int) -> Stages:
    """Measure the stages of our own loading.

    Args:
        case: What to call the files.
        files: The files.
        num_clips: Number of clips of each.
    """
    seconds = dict.fromkeys(_STAGES, 0.0)

    @contextlib.contextmanager
    def stage(name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        seconds[name] += time.perf_counter() - begun

    for draw, file in itertools.product(range(num_clips), files):
        _read_in_stages(file, draw, stage)
    seconds["decode"] -= seconds["color"]
    return Stages(case, {name: 1000 * spent / (num_clips * len(files)) for name, spent in seconds.items()})


def _read_in_stages(file: File, draw: int, stage: Callable[[str], contextlib.AbstractContextManager[None]]) -> None:
    with stage("read"):
        file.path.read_bytes()
    with stage("open"):
        reader = open_video(file.renamed())
    with reader, stage("decode"):
        frames = reader.read(file.indices(draw)).permute(0, 3, 1, 2)
    with av.open(str(file.path)) as container:
        decoded = list(itertools.islice(container.decode(video=0), CLIP.num_frames))
        with stage("color"):
            for frame in decoded:
                frame.to_ndarray(format="rgb24", threads=1)
    with stage("resize"):
        clip = plain_transform()(frames)
    item: TrainingItem = {"clip": clip[None], "video": 0, "label": 0, "failures": []}
    with stage("collate"):
        collate_training([item])


def memory(files: Sequence[File], num_reads: int) -> Memory:
    """Read clips by a data loader with one worker and a time limit, and see whether memory grows.

    Args:
        files: The files, read in turn.
        num_reads: Number of clips.
    """
    clips = TrainingClips(_Unseen(files), CLIP, plain_transform(), time_limit_seconds=Loading.time_limit_seconds)
    keys = [(read, read % len(files)) for read in range(num_reads)]
    loader = DataLoader(clips, sampler=keys, batch_size=1, collate_fn=collate_training, **worker_options(1))
    before = 0
    for read, _ in enumerate(loader):
        if read == int(num_reads * _WARM_UP_SHARE):
            before = family_bytes()
        if read == num_reads - 1:  # the worker ends with the loop
            return Memory(num_reads, before / _MIB, family_bytes() / _MIB)
    raise AssertionError("a loader gives every batch")


class _Unseen(Sequence[Video]):
    """Each file under a new name whenever it is asked for."""

    def __init__(self, files: Sequence[File]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: Any) -> Any:
        return Video(self.files[place].renamed(), 0)
