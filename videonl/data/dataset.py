"""Data sets of clips: one random clip per video to train on, all views of a video to evaluate on; and their batches."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict, final

import numpy as np
import torch
from torch.utils.data import Dataset

from videonl.data.decoding import DecodingError, open_video
from videonl.data.index import Video
from videonl.data.sampling import even_clips, even_clips_in_time, random_clip, random_clip_in_time
from videonl.data.shard_member import ShardMember
from videonl.data.transforms import ClipFormat, Views, ViewTransform
from videonl.errors import UserError

_MAX_TRIES = 10


class Failure(NamedTuple):
    """A video that could not be decoded, and why."""

    path: str
    reason: str


class TrainingItem(TypedDict):
    """One clip: ``clip`` uint8 ``(C, T, H, W)``; ``failures`` are videos that this one stands in for."""

    clip: torch.Tensor
    label: int
    failures: list[Failure]


class TrainingBatch(TypedDict):
    """Clips: ``clip`` uint8 ``(B, C, T, H, W)``, ``label`` int64 ``(B,)``."""

    clip: torch.Tensor
    label: torch.Tensor
    failures: list[Failure]


@final
class EvaluationItem(TypedDict):
    """All views of one video: ``clip`` uint8 ``(V, C, T, H, W)``, clip by clip, and crop by crop within a clip.

    ``view`` holds the number of each view's clip and of its crop.
    """

    clip: torch.Tensor
    view: list[tuple[int, int]]
    video: int
    label: int
    path: str


@final
class FailedItem(TypedDict):
    """A video that could not be decoded."""

    failures: list[Failure]


class EvaluationBatch(TypedDict):
    """Views of several videos: ``clip`` uint8 ``(sum of V, C, T, H, W)``; the rest has one entry per view.

    ``video`` (int64) is the index of the view's video in the data set, ``view`` (int64 ``(sum of V, 2)``) the numbers
    of its clip and crop.
    """

    clip: torch.Tensor
    view: torch.Tensor
    video: torch.Tensor
    label: torch.Tensor
    path: list[str]
    failures: list[Failure]


class TrainingClips(Dataset[TrainingItem]):
    """One random clip per video, keyed by ``(epoch, index)``.

    Everything random is a pure function of (seed, epoch, index): not of worker, process, or what was drawn before. A
    video that cannot be decoded is replaced by the next in the list that can.

    Args:
        videos: The videos.
        clip_format: Number and stride of the frames.
        transform: From uint8 ``(T, C, H, W)`` to uint8 ``(C, T, H, W)``; draws from torch's global generator.
        decoder: A name in ``decoding.DECODERS``.
        seed: Seed of all random choices.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        clip_format: ClipFormat,
        transform: Callable[[torch.Tensor], torch.Tensor],
        decoder: str = "auto",
        seed: int = 0,
    ) -> None:
        self.videos = videos
        self.clip_format = clip_format
        self.transform = transform
        self.decoder = decoder
        self.seed = seed

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, key: tuple[int, int]) -> TrainingItem:
        """Return the clip of video ``index`` in ``epoch``.

        Raises:
            UserError: Neither that video nor any of the next nine can be decoded.
        """
        epoch, index = key
        failures: list[Failure] = []
        for attempt in range(min(_MAX_TRIES, len(self.videos))):
            video = self.videos[(index + attempt) % len(self.videos)]
            try:
                with seeded(self.seed, epoch, index):
                    return {"clip": self._random_clip(video), "label": video.label, "failures": failures}
            except DecodingError as error:
                failures.append(Failure(error.path, error.reason))
        listed = "\n".join(f"  {failure.path}: {failure.reason}" for failure in failures)
        raise UserError(f"none of {len(failures)} videos in a row can be decoded:\n{listed}\nMend or remove them.")

    def _random_clip(self, video: Video) -> torch.Tensor:
        with open_video(video.path, self.decoder) as reader:
            clip = self.clip_format
            if clip.stride_seconds is None:
                indices = random_clip(reader.num_frames, clip.num_frames, clip.stride_frames)
            else:
                indices = random_clip_in_time(reader.timestamps_seconds, clip.num_frames, clip.stride_seconds)
            frames = reader.read(indices)
        return self.transform(frames.permute(0, 3, 1, 2))  # (T, H, W, C) -> (T, C, H, W)


class EvaluationVideos(Dataset[EvaluationItem | FailedItem]):
    """All views of each video, which is decoded once; nothing is random.

    Args:
        videos: The videos.
        clip_format: Number and stride of the frames, size of the crops.
        views: How many clips and crops.
        decoder: A name in ``decoding.DECODERS``.
    """

    def __init__(self, videos: Sequence[Video], clip_format: ClipFormat, views: Views, decoder: str = "auto") -> None:
        self.videos = videos
        self.clip_format = clip_format
        self.views = views
        self.decoder = decoder

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> EvaluationItem | FailedItem:
        """Return all views of video ``index``, or why there are none."""
        video = self.videos[index]
        try:
            clip = read_views(video.path, self.clip_format, self.views, self.decoder)
        except DecodingError as error:
            return {"failures": [Failure(error.path, error.reason)]}
        view = self.views.numbers
        return {"clip": clip, "view": view, "video": index, "label": video.label, "path": str(video.path)}


def read_views(
    path: Path | str | ShardMember, clip_format: ClipFormat, views: Views, decoder: str = "auto"
) -> torch.Tensor:
    """Read all views of one video, decoding it once; nothing is random.

    Args:
        path: The video file, folder of frames, or place in a shard.
        clip_format: Number and stride of the frames, size of the crops.
        views: How many clips and crops.
        decoder: A name in ``decoding.DECODERS``.

    Returns:
        uint8 ``(V, C, T, H, W)``, clip by clip, and crop by crop within a clip.

    Raises:
        DecodingError: The video cannot be decoded.
    """
    with open_video(path, decoder) as reader:
        num_frames, stride_seconds = clip_format.num_frames, clip_format.stride_seconds
        if stride_seconds is None:
            clips = even_clips(reader.num_frames, num_frames, clip_format.stride_frames, views.num_clips)
        else:
            clips = even_clips_in_time(reader.timestamps_seconds, num_frames, stride_seconds, views.num_clips)
        needed = sorted({index for clip in clips for index in clip})
        frames = reader.read(needed).permute(0, 3, 1, 2)  # (T, H, W, C) -> (T, C, H, W)
    crops = ViewTransform(clip_format, views)(frames)  # (crops, C, frames needed, H, W)
    position = {index: place for place, index in enumerate(needed)}
    return torch.cat([crops[:, :, [position[index] for index in clip]] for clip in clips])


@contextlib.contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed torch's global CPU generator from a key of non-negative integers, and restore it on leaving.

    The key is hashed by ``numpy.random.SeedSequence``, whose output is the same on every machine. Only the generator of
    the CPU is touched: ``torch.manual_seed`` would reset that of the GPU too, and with it dropout.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        yield


def collate_training(items: Sequence[TrainingItem]) -> TrainingBatch:
    """Stack clips of one shape into a batch."""
    return {
        "clip": torch.stack([item["clip"] for item in items]),
        "label": torch.tensor([item["label"] for item in items], dtype=torch.int64),
        "failures": [failure for item in items for failure in item["failures"]],
    }


def collate_evaluation(items: Sequence[EvaluationItem | FailedItem]) -> EvaluationBatch:
    """Join the views of several videos; where every video failed, ``clip`` has the shape ``(0, 3, 1, 1, 1)``."""
    failures = [failure for item in items if "failures" in item for failure in item["failures"]]
    good = [item for item in items if "clip" in item]
    per_view = [item for item in good for _ in range(len(item["clip"]))]
    return {
        "clip": torch.cat([item["clip"] for item in good] or [torch.empty(0, 3, 1, 1, 1, dtype=torch.uint8)]),
        "view": torch.tensor([view for item in good for view in item["view"]], dtype=torch.int64).view(-1, 2),
        "video": torch.tensor([item["video"] for item in per_view], dtype=torch.int64),
        "label": torch.tensor([item["label"] for item in per_view], dtype=torch.int64),
        "path": [item["path"] for item in per_view],
        "failures": failures,
    }
