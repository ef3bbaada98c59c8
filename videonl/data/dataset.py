"""Data sets of clips: random clips of each video to train on, all views of each video to evaluate on."""

from collections.abc import Callable, Sequence

import torch
from torch.utils.data import Dataset

from videonl.data.batches import EvaluationItem, FailedItem, Failure, TrainingItem, stack
from videonl.data.fetch_ahead import FetchAhead
from videonl.data.guarding import Guarded
from videonl.data.randomness import seeded
from videonl.data.reading.decoding import DecodingError, VideoReader
from videonl.data.reading.video_reader import with_recount
from videonl.data.samplers import Draw
from videonl.data.sampling import even_clips, even_clips_in_time, random_clip, random_clip_in_time
from videonl.data.transforms import ClipFormat, Views, ViewTransform
from videonl.data.video import Video, target_of
from videonl.errors import UserError

_MAX_TRIES = 10


class TrainingClips(Dataset[TrainingItem]):
    """Random clips of each video, which is decoded once, keyed by ``(epoch, index)`` or a ``samplers.Draw``.

    All randomness depends only on (seed, epoch, index), not on worker, process or earlier draws. A video that cannot be
    decoded is replaced by the next one in the list that can.

    Args:
        videos: The videos.
        clip_format: Which frames make a clip.
        transform: From uint8 ``(T, C, H, W)``, a label, and the grid where there is one, to uint8 ``(C, T, H, W)``;
            draws from torch's global generator.
        decoder: A name in ``decoding.DECODERS``.
        seed: Seed of all random choices.
        clips_per_video: Number of clips of each video, R.
        time_limit_seconds: How long a clip may take, in worker processes; ``None`` for ever.
        num_classes: Number of classes of a task of several labels, whose items have a row of zeros and ones as label.

    Attributes:
        ahead: Fetches the videos of a batch that lie in a bucket.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        clip_format: ClipFormat,
        transform: Callable[..., torch.Tensor],
        decoder: str = "auto",
        seed: int = 0,
        clips_per_video: int = 1,
        time_limit_seconds: float | None = None,
        num_classes: int | None = None,
    ) -> None:
        self.videos = videos
        self.clip_format = clip_format
        self.num_classes = num_classes
        self.transform = transform
        self.decoder = decoder
        self.seed = seed
        self.clips_per_video = clips_per_video
        limit_seconds = None if time_limit_seconds is None else time_limit_seconds * clips_per_video
        self._guarded = Guarded(self._random_clips, limit_seconds)
        self.ahead = FetchAhead()

    def __len__(self) -> int:
        return len(self.videos)

    def __getitems__(self, keys: Sequence[tuple[int, int] | Draw]) -> list[TrainingItem]:
        """The items of a batch."""
        self._guarded.start()
        now, then = ([self._video(Draw(*key).video) for key in part] for part in (keys, getattr(keys, "then", ())))
        self.ahead.begin(now, then)
        return [self[key] for key in keys]

    def __getitem__(self, key: tuple[int, int] | Draw) -> TrainingItem:
        """Return the clips of video ``index`` in ``epoch``.

        Raises:
            UserError: Neither that video nor any of the next nine can be decoded.
        """
        draw = Draw(*key)
        index = draw.video
        failures: list[Failure] = []
        for attempt in range(min(_MAX_TRIES, len(self.videos))):
            video = self._video(index + attempt)
            try:
                clip = self._guarded(video.path, (draw, self.ahead.fetched(video)))
            except DecodingError as error:
                failures.append(Failure(error.path, error.reason))
            else:
                label = target_of(video.label, self.num_classes)
                return {"clip": clip, "video": index, "label": label, "failures": failures}
        listed = "\n".join(f"  {failure.path}: {failure.reason}" for failure in failures)
        raise UserError(f"none of {len(failures)} videos in a row can be decoded:\n{listed}\nRepair or remove them.")

    def _video(self, number: int) -> Video:
        """The video of a number, which starts anew beyond the last one."""
        return self.videos[number % len(self.videos)]

    def _random_clips(self, key: tuple[Draw, Video]) -> torch.Tensor:
        with key[-1].open(self.decoder) as reader:
            return with_recount(lambda: self._drawn(reader, *key))

    def _drawn(self, reader: VideoReader, draw: Draw, video: Video) -> torch.Tensor:
        epoch, index, grid = draw
        form, of_grid = self.clip_format, () if grid is None else (grid,)
        with seeded(self.seed, epoch, index):
            clips = [_random_frames(reader, grid.drawn(form) if grid else form) for _ in range(self.clips_per_video)]
            needed = sorted({frame for clip in clips for frame in clip})
            frames = reader.read(needed)
            picked = [_picked(frames, _places(clip, needed)) for clip in clips]
            return stack([self.transform(clip, video.label, *of_grid) for clip in picked])


class EvaluationVideos(Dataset[EvaluationItem | FailedItem]):
    """All views of each video, which is decoded once; nothing is random.

    Args:
        videos: The videos.
        clip_format: Which frames make a clip, size of the crops.
        views: How many clips and crops.
        decoder: A name in ``decoding.DECODERS``.
        time_limit_seconds: How long a clip may take, in worker processes; ``None`` for ever.
        num_classes: As for :class:`TrainingClips`.

    Attributes:
        ahead: As of :class:`TrainingClips`.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        clip_format: ClipFormat,
        views: Views,
        decoder: str = "auto",
        time_limit_seconds: float | None = None,
        num_classes: int | None = None,
    ) -> None:
        self.videos = videos
        self.num_classes = num_classes
        self.clip_format = clip_format
        self.views = views
        self.decoder = decoder
        limit_seconds = None if time_limit_seconds is None else time_limit_seconds * views.num_clips
        self._guarded = Guarded(self._read, limit_seconds)
        self.ahead = FetchAhead()

    def __len__(self) -> int:
        return len(self.videos)

    def __getitems__(self, indices: Sequence[int]) -> list[EvaluationItem | FailedItem]:
        """The items of a batch."""
        self._guarded.start()
        now, then = ([self.videos[index] for index in part] for part in (indices, getattr(indices, "then", ())))
        self.ahead.begin(now, then)
        return [self[index] for index in indices]

    def __getitem__(self, index: int) -> EvaluationItem | FailedItem:
        """Return all views of video ``index``, or why there are none."""
        video = self.videos[index]
        if video.unreadable:
            return {"failures": [Failure(str(video.path), video.unreadable)]}
        try:
            clip = self._guarded(video.path, self.ahead.fetched(video))
        except DecodingError as error:
            return {"failures": [Failure(error.path, error.reason)]}
        view, label = self.views.numbers, target_of(video.label, self.num_classes)
        return {"clip": clip, "view": view, "video": index, "label": label, "path": str(video.path)}

    def _read(self, video: Video) -> torch.Tensor:
        return read_views(video, self.clip_format, self.views, self.decoder)


def read_views(video: Video, clip_format: ClipFormat, views: Views, decoder: str = "auto") -> torch.Tensor:
    """Read all views of one video, decoding it once; nothing is random.

    Args:
        video: The video; its label does not matter.
        clip_format: Which frames make a clip, size of the crops.
        views: How many clips and crops.
        decoder: A name in ``decoding.DECODERS``.

    Returns:
        uint8 ``(V, C, T, H, W)``, clip by clip, and crop by crop within a clip.

    Raises:
        DecodingError: The video cannot be decoded.
    """
    with video.open(decoder) as reader:
        return views_of(reader, clip_format, views)


def views_of(reader: VideoReader, clip_format: ClipFormat, views: Views) -> torch.Tensor:
    """As :func:`read_views`, of an open video."""
    return with_recount(lambda: _all_views(reader, clip_format, views))


def _all_views(reader: VideoReader, clip_format: ClipFormat, views: Views) -> torch.Tensor:
    clips = even_frames(reader, clip_format, views.num_clips)
    needed = sorted({frame for clip in clips for frame in clip})
    frames = reader.read(needed).permute(0, 3, 1, 2)  # (T, H, W, C) -> (T, C, H, W)
    return ViewTransform(clip_format, views)(frames, [_places(clip, needed) for clip in clips])


def _random_frames(reader: VideoReader, form: ClipFormat) -> list[int]:
    if form.stride_seconds is not None:
        return random_clip_in_time(reader.timestamps_seconds, form.num_frames, form.stride_seconds)
    return random_clip(reader.num_frames, form.num_frames, form.stride_frames, form.sampling)


def even_frames(reader: VideoReader, form: ClipFormat, num_clips: int) -> list[list[int]]:
    """The frames of evenly spaced clips of an open video, as a clip format asks for them."""
    if form.stride_seconds is not None:
        return even_clips_in_time(reader.timestamps_seconds, form.num_frames, form.stride_seconds, num_clips)
    return even_clips(reader.num_frames, form.num_frames, form.stride_frames, num_clips, form.sampling)


def _places(clip: Sequence[int], needed: Sequence[int]) -> list[int]:
    """Where the frames of a clip are among those read."""
    place = {frame: place for place, frame in enumerate(needed)}
    return [place[frame] for frame in clip]


def _picked(frames: torch.Tensor, places: list[int]) -> torch.Tensor:
    """Some frames of (T, H, W, C) as (T, C, H, W), without a copy where they are all of them in order."""
    picked = frames if places == list(range(len(frames))) else frames[places]
    return picked.permute(0, 3, 1, 2)
