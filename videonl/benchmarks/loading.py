"""Clips per second of our loading and of others', file after file in turn, in one process on one thread."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from videonl.benchmarks.loading_peers import (
    SEEK_MODES,
    SeekMode,
    decord_clip,
    decord_frames,
    decord_reader,
    get_batch,
    pytorchvideo_clips,
    torchcodec_clip,
    torchcodec_frames,
)
from videonl.benchmarks.loading_sides import CLIP, File, our_clip, our_frames, our_indexed_clip
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
        most_levels: By how many levels of 255 a value of a pixel differed at most; None where none are compared.
        left_out: Names of the files that the peer cannot read, which neither side read here.
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
    most_levels: int | None = None
    left_out: list[str] = field(default_factory=list)

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


def compare(
    files: Sequence[File], prepared: Sequence[File], num_clips: int, seek_modes: Sequence[SeekMode] = SEEK_MODES
) -> Iterator[Row]:
    """Compare on files as they are, and on the same ones prepared for random access.

    Args:
        files: Those as they are.
        prepared: The same, in the same order.
        num_clips: Number of clips of each file.
        seek_modes: Those of torchcodec to compare with; none where it is not installed.

    Yields:
        A row as soon as it is measured.
    """
    raw, ours = _each(decord_clip, files), _each(our_clip, files)
    yield _frames_alone("decord", decord_frames, files, num_clips)
    yield Row("raw", "decord", *_in_turn(ours, raw, num_clips))
    yield Row("raw, indexed", "decord", *_in_turn(_each(our_indexed_clip, files), raw, num_clips))
    for seek_mode in seek_modes:
        yield from beside_torchcodec(seek_mode, files, num_clips)
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


def _frames_alone(peer: str, theirs: Callable[[File, int], Tensor], files: Sequence[File], num_clips: int) -> Row:
    levels = {file.path.name: _levels_apart(file, theirs) for file in files}
    frames = _in_turn(_each(our_frames, files), _each(theirs, files), num_clips)
    differing = [name for name, apart in levels.items() if apart]
    return Row("raw, frames alone", peer, *frames, differing=differing, most_levels=max(levels.values()))


def _levels_apart(file: File, theirs: Callable[[File, int], Tensor]) -> int:
    """How far a value of three clips is from ours at most; 255 where their frames are of another size."""
    pairs = [(our_frames(file, draw).int(), theirs(file, draw).int()) for draw in range(3)]
    return max(int((ours - other).abs().max()) if ours.shape == other.shape else 255 for ours, other in pairs)


def beside_torchcodec(seek_mode: SeekMode, files: Sequence[File], num_clips: int) -> Iterator[Row]:
    """Compares with torchcodec, on the files that it reads.

    Ours lists the frames where theirs goes through the packets, and knows them from an index where theirs guesses.

    Args:
        seek_mode: Theirs.
        files: The files.
        num_clips: Number of clips of each.

    Yields:
        The frames alone, and whole clips; nothing if it can read none of the files.
    """
    peer, frames = f"torchcodec ({seek_mode})", partial(torchcodec_frames, seek_mode)
    read = [file for file in files if _can(frames, file)]
    if not read:
        return
    case, ours = ("raw", our_clip) if seek_mode == "exact" else ("raw, indexed", our_indexed_clip)
    clips = _in_turn(_each(ours, read), _each(partial(torchcodec_clip, seek_mode), read), num_clips)
    left_out = [file.path.name for file in files if file not in read]
    yield replace(_frames_alone(peer, frames, read, num_clips), left_out=left_out)
    yield Row(case, peer, *clips, left_out=left_out)


def _can(theirs: Callable[[File, int], Tensor], file: File) -> bool:
    try:
        return all(len(theirs(file, draw)) for draw in range(3))
    except (RuntimeError, ValueError, IndexError):  # torchcodec's
        return False


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
