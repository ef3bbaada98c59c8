"""Windows per second over a long video, ours and those of the loops that people write, in turn in one process."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from videonl.benchmarks.rounds import Rounds
from videonl.data.reading.decoding import open_video
from videonl.data.reading.decord_reader import import_decord
from videonl.inference import Recognizer, Windows, scored

AGREEMENT = 1e-4  # of the largest logit
Side = Callable[["Job"], Tensor]


@dataclass(frozen=True)
class Job:
    """What every side does: the logits of windows of one video, one window in a forward pass.

    Attributes:
        path: The video, of an even frame rate.
        recognizer: The network.
        stride_frames: From the start of a window to the next.
        num_windows: How many windows, from the first on.
    """

    path: Path
    recognizer: Recognizer
    stride_frames: int
    num_windows: int

    @property
    def frames(self) -> list[list[int]]:
        """The frames of each window."""
        clip = self.recognizer.clip
        offsets = [step * clip.stride_frames for step in range(clip.num_frames)]
        return [[number * self.stride_frames + offset for offset in offsets] for number in range(self.num_windows)]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        peer: Whose loop.
        num_windows: Windows of each round.
        ratio: Our windows per second over theirs, the median of the rounds; None where it is unstable.
        ours_windows_per_s: Ours, in the median.
        peer_windows_per_s: Theirs.
        difference: The largest difference of logits, over the largest logit.
        rounds: How often both sides took turns.
        spread: How far the ratio may be off; see :class:`videonl.benchmarks.rounds.Rounds`.
        unstable: Whether it may be off by too much to be shown.
    """

    peer: str
    num_windows: int
    ratio: float | None
    ours_windows_per_s: float
    peer_windows_per_s: float
    difference: float
    rounds: int = 0
    spread: float | None = None
    unstable: bool = False

    def as_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {"bench": "windows", **asdict(self)}


def compare(job: Job, num_rounds: int, peers: Sequence[str] = ("pyav", "decord")) -> Iterator[Row]:
    """Compares ours with loops over windows; both sides take turns, and the first round does not count.

    Args:
        job: The windows.
        num_rounds: How many rounds count.
        peers: ``pyav`` seeks and decodes each window, ``decord`` reads each with ``get_batch``.

    Yields:
        A row for each peer.

    Raises:
        ValueError: The logits of PyAV's frames, which are exact, are not ours.
    """
    for peer in peers:
        ours_s, peer_s = [], []
        for counts in (False, *[True] * num_rounds):
            ours, seconds = _timed(our_logits, job)
            theirs, peer_seconds = _timed(SIDES[peer], job)
            if counts:
                ours_s.append(seconds)
                peer_s.append(peer_seconds)
        difference = float((ours - theirs).abs().max() / ours.abs().max())
        if peer == "pyav" and difference > AGREEMENT:
            raise ValueError(f"the two sides score differently: by {difference:.1e} of the largest logit")
        rounds = Rounds(tuple(ours_s), tuple(peer_s))
        ratio = statistics.median(theirs / ours for ours, theirs in zip(ours_s, peer_s, strict=True))
        shown = None if rounds.unstable else ratio
        ours_rate, peer_rate = (job.num_windows / statistics.median(seconds) for seconds in (ours_s, peer_s))
        trust = len(rounds), rounds.spread, rounds.unstable
        yield Row(peer, job.num_windows, shown, ours_rate, peer_rate, difference, *trust)


def _timed(side: Side, job: Job) -> tuple[Tensor, float]:
    begun = time.perf_counter()
    return side(job), time.perf_counter() - begun


def our_logits(job: Job) -> Tensor:
    """Ours (W, K): one pass over the file, ahead of the network."""
    starts = range(0, job.num_windows * job.stride_frames, job.stride_frames)
    with open_video(job.path) as reader:
        windows = Windows(reader, job.recognizer.clip, starts)
        return torch.cat([logits for _, logits in scored(job.recognizer, windows, batch_size=1)])


def pyav_logits(job: Job) -> Tensor:
    """A loop over windows that seeks to each and decodes it, with as many threads as PyAV likes."""
    with av.open(str(job.path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return torch.cat([_score(job, _decoded(container, stream, frames)) for frames in job.frames])


def _decoded(container: Any, stream: Any, frames: Sequence[int]) -> Tensor:
    begin = stream.start_time or 0
    period = 1 / (stream.average_rate * stream.time_base)
    container.seek(begin + round(frames[0] * period), stream=stream)
    found = {}
    for frame in container.decode(stream):
        index = round((frame.pts - begin) / period)
        if index in frames:
            found[index] = frame.to_ndarray(format="rgb24")
        if index >= frames[-1]:
            break
    return torch.from_numpy(np.stack([found[index] for index in frames]))


def decord_logits(job: Job) -> Tensor:
    """A loop over windows that has decord read each, with as many threads as it likes."""
    reader = import_decord().VideoReader(str(job.path))
    batches = (reader.get_batch(frames) for frames in job.frames)
    # Importing pytorchvideo.data makes decord return torch tensors, for the whole process.
    clips = (batch if isinstance(batch, Tensor) else torch.from_numpy(batch.asnumpy()) for batch in batches)
    return torch.cat([_score(job, clip) for clip in clips])


def _score(job: Job, frames: Tensor) -> Tensor:
    """The network's logits of (T, H, W, C), resized and cropped with torchvision."""
    clip = job.recognizer.clip
    resized = vision.resize(frames.permute(0, 3, 1, 2), [clip.short_side_px], antialias=True)
    top, left = ((side_px - clip.crop_px) // 2 for side_px in resized.shape[-2:])
    views = vision.crop(resized, top, left, clip.crop_px, clip.crop_px)
    return job.recognizer.logits(views.permute(1, 0, 2, 3)[None])


SIDES: dict[str, Side] = {"pyav": pyav_logits, "decord": decord_logits}
