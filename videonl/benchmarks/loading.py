"""Clips per second of our loading and of others', file after file in turn, in one process on one thread."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from videonl.benchmarks.loading_sides import (
    CLIP,
    File,
    decord_clip,
    decord_frames,
    decord_reader,
    get_batch,
    our_clip,
    our_frames,
    our_indexed_clip,
    pytorchvideo_clips,
)
from videonl.benchmarks.rounds import Rounds
from videonl.data.dataset import read_views
from videonl.data.sampling import even_clips
from videonl.data.transforms import Views, ViewTransform
from videonl.data.video import Video

Read = Callable[[int], Tensor]  # of the clip of a draw
TEST_VIEWS = Views(num_clips=10, num_crops=3, crop_px=256)


@dataclass(frozen=True)
class Row:
    """One comparison; a clip is 8 frames, 8 apart.

    Attributes:
        case: What was read.
        peer: Who else read it.
        ours_clips_per_s: Our clips per second.
        peer_clips_per_s: Their clips per second.
        num_clips: Number of clips that each side read.
        rounds: How often each side read a clip of every file, which sets how often the files are opened.
        spread: How far the ratio may be off; see :class:`videonl.benchmarks.rounds.Rounds`.
        unstable: Whether it may be off by too much to be shown.
        differing: Names of the files of which three clips were not the same to the last bit; None where none are
            compared.
    """

    case: str
    peer: str
    ours_clips_per_s: float
    peer_clips_per_s: float
    num_clips: int
    rounds: int = 0
    spread: float | None = None
    unstable: bool = False
    differing: list[str] | None = None

    def as_json(self) -> dict[str, Any]:
        """The row as plain data, with the ratio of ours to the peer's; None where it is unstable."""
        rates = {
            "ours_frames_per_s": self.ours_clips_per_s * CLIP.num_frames,
            "peer_frames_per_s": self.peer_clips_per_s * CLIP.num_frames,
        }
        return {"bench": "data", **asdict(self), "ratio": self.ratio, **rates}

    @property
    def ratio(self) -> float | None:
        """Our rate by the peer's, larger is better; None where it is unstable."""
        return None if self.unstable else self.ours_clips_per_s / self.peer_clips_per_s


def compare(files: Sequence[File], prepared: Sequence[File], num_clips: int) -> Iterator[Row]:
    """Compare on files as they are, and on the same ones prepared for random access.

    Args:
        files: Those as they are.
        prepared: The same, in the same order.
        num_clips: Number of clips of each file.

    Yields:
        A row as soon as it is measured.
    """
    raw, ours = _each(decord_clip, files), _each(our_clip, files)
    frames = _in_turn(_each(our_frames, files), _each(decord_frames, files), num_clips)
    yield Row("raw, frames alone", "decord", *frames, differing=[file.path.name for file in files if _differs(file)])
    yield Row("raw", "decord", *_in_turn(ours, raw, num_clips))
    yield Row("raw, indexed", "decord", *_in_turn(_each(our_indexed_clip, files), raw, num_clips))
    for decoder in ("decord", "pyav"):
        theirs = [pytorchvideo_clips(file, num_clips + 1, decoder) for file in files]
        yield Row("raw", f"pytorchvideo ({decoder})", *_in_turn(ours, theirs, num_clips))
    yield Row("prepared", "decord, raw", *_in_turn(_each(our_clip, prepared), raw, num_clips))
    yield Row("prepared, indexed", "decord, raw", *_in_turn(_each(our_indexed_clip, prepared), raw, num_clips))
    same = _in_turn(_each(our_clip, prepared), _each(decord_clip, prepared), num_clips)
    yield Row("prepared", "decord, prepared", *same)
    fewer = -(-num_clips // TEST_VIEWS.num_clips)
    views = _in_turn(_each(_our_views, files), _each(_decord_views, files), fewer, TEST_VIEWS.num_clips)
    yield Row("raw, test views", "decord, clip by clip", *views)


def _differs(file: File) -> bool:
    return not all(torch.equal(our_frames(file, draw), decord_frames(file, draw)) for draw in range(3))


def _each(read: Callable[[File, int], Tensor], files: Sequence[File]) -> list[Read]:
    return [partial(read, file) for file in files]


def _our_views(file: File, _: int) -> Tensor:
    return read_views(Video(file.renamed(), 0), CLIP, TEST_VIEWS)


def _decord_views(file: File, _: int) -> Tensor:
    """One reader for the video, and for each clip a ``get_batch`` of its own; resized and cropped as ours."""
    reader, cut = decord_reader(file.renamed()), ViewTransform(CLIP, TEST_VIEWS)
    clips = even_clips(file.num_frames, CLIP.num_frames, CLIP.stride_frames, TEST_VIEWS.num_clips)
    return torch.cat([cut(get_batch(reader, clip).permute(0, 3, 1, 2), [range(len(clip))]) for clip in clips])


def _in_turn(
    ours: Sequence[Read], theirs: Sequence[Read], num_reads: int, clips_per_read: int = 1
) -> tuple[float, float, int, int, float | None, bool]:
    """The figures of a row; the first read of each file is not counted.

    In one process, because the system's cache of files is shared anyway, and decoders keep nothing from file to file.
    """
    seconds: list[list[float]] = []
    for draw in range(num_reads + 1):
        seconds.append([0.0, 0.0])
        for reads in zip(ours, theirs, strict=True):
            for side, read in enumerate(reads):
                begun = time.perf_counter()
                read(draw)
                seconds[-1][side] += time.perf_counter() - begun
    rounds = Rounds(*zip(*seconds[1:], strict=True))
    total = num_reads * len(ours) * clips_per_read
    rates = total / sum(rounds.ours), total / sum(rounds.plain)
    return *rates, total, len(rounds), rounds.spread, rounds.unstable
