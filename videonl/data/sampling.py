"""Selects the frames of a clip: pure arithmetic on frame indices.

The four samplings, for training and for evaluation:

========== ================================================ =================================================
sampling   in training                                      in evaluation, several clips
========== ================================================ =================================================
dense      frames ``stride_frames`` apart, from a           the same frames apart, starts evenly spaced from
           random start                                     the first to the last possible one
uniform    the middles of ``num_frames`` equal segments     one frame of each segment; where in the segment,
           of the whole video                               differs from clip to clip by equal steps
segment    a random frame of each segment                   as uniform
random     frames at random, in order of time               as uniform
========== ================================================ =================================================

Dense clips are those of I3D (Carreira and Zisserman, 2017, arXiv 1705.07750) and of non-local networks (Wang et al.,
2018, arXiv 1711.07971); segments those of Temporal Segment Networks (Wang et al., 2016, arXiv 1608.00859).

A user can add a :class:`Sampler`, or a function of the place of a clip in the video, by name or dotted path.

A video shorter than a clip gives frames more than once: a dense clip repeats the last, the others repeat evenly.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from videonl.data.reading.segment import ROUNDING_SECONDS
from videonl.errors import UserError
from videonl.registry import Registry


class Sampler(Protocol):
    """A sampling. Users may write such a class: it is built without arguments, and has no state."""

    def random_clip(
        self, video_num_frames: int, num_frames: int, stride_frames: int, generator: torch.Generator
    ) -> Sequence[int]:
        """As :func:`random_clip`; all randomness comes from the generator."""

    def even_clips(
        self, video_num_frames: int, num_frames: int, stride_frames: int, num_clips: int
    ) -> Sequence[Sequence[int]]:
        """As :func:`even_clips`; nothing is random."""


def clip_span(num_frames: int, stride_frames: int) -> int:
    """Number of frames of the video that a clip covers, first and last included.

    >>> clip_span(num_frames=8, stride_frames=8)
    57
    """
    return (num_frames - 1) * stride_frames + 1


def random_clip(
    video_num_frames: int,
    num_frames: int,
    stride_frames: int,
    sampling: str = "dense",
    generator: torch.Generator | None = None,
) -> list[int]:
    """Frame indices of a training clip.

    Args:
        video_num_frames: Number of frames in the video, at least 1.
        num_frames: Number of frames in the clip.
        stride_frames: Distance between consecutive frames of a dense clip; the others do not use it.
        sampling: See above.
        generator: Where the randomness comes from; torch's global generator if ``None``.

    Returns:
        ``num_frames`` indices in ``[0, video_num_frames)``, never decreasing.

    Raises:
        UserError: A user's own sampling returns something else.
    """
    clip = find_sampler(sampling).random_clip(
        video_num_frames, num_frames, stride_frames, generator or torch.default_generator
    )
    return _checked(sampling, clip, video_num_frames, num_frames)


def even_clips(
    video_num_frames: int, num_frames: int, stride_frames: int, num_clips: int, sampling: str = "dense"
) -> list[list[int]]:
    """Frame indices of the evaluation clips of a video; deterministic.

    A single clip is centered. Clips overlap, or coincide, if the video is too short for them.

    >>> even_clips(video_num_frames=9, num_frames=3, stride_frames=2, num_clips=3)
    [[0, 2, 4], [2, 4, 6], [4, 6, 8]]
    >>> even_clips(video_num_frames=9, num_frames=3, stride_frames=2, num_clips=3, sampling="uniform")
    [[0, 3, 6], [1, 4, 7], [2, 5, 8]]

    Args:
        video_num_frames: Number of frames in the video, at least 1.
        num_frames: Number of frames in each clip.
        stride_frames: Distance between consecutive frames of a dense clip.
        num_clips: Number of clips.
        sampling: See above.

    Returns:
        ``num_clips`` lists of ``num_frames`` indices in ``[0, video_num_frames)``.

    Raises:
        UserError: A user's own sampling returns something else.
    """
    clips = list(find_sampler(sampling).even_clips(video_num_frames, num_frames, stride_frames, num_clips))
    if len(clips) != num_clips:
        raise UserError(f"sampling {sampling} returned {len(clips)} clips instead of {num_clips}")
    return [_checked(sampling, clip, video_num_frames, num_frames) for clip in clips]


def find_sampler(name: str) -> Sampler:
    """A sampling by its name or dotted path.

    Raises:
        UserError: It does not exist, or is neither a function nor a class with the two methods.
    """
    found = SAMPLINGS.find(name)
    if isinstance(found, type):
        sampler = found()
        if all(callable(getattr(sampler, method, None)) for method in ("random_clip", "even_clips")):
            return sampler  # type: ignore[no-any-return]  # it has its methods
    elif callable(found):
        return _ByPlace(found)
    raise UserError(
        f"sampling {name} is neither a function of (video_num_frames, num_frames, stride_frames, place) nor a class "
        "with random_clip and even_clips; see docs/extend.md"
    )


def _checked(sampling: str, clip: Sequence[int], video_num_frames: int, num_frames: int) -> list[int]:
    frames = [int(frame) for frame in clip]
    if len(frames) != num_frames or not all(0 <= frame < video_num_frames for frame in frames):
        raise UserError(
            f"sampling {sampling} returned the frames {frames}, not {num_frames} from 0 to {video_num_frames - 1}"
        )
    return frames


class _Dense:
    def random_clip(
        self, video_num_frames: int, num_frames: int, stride_frames: int, generator: torch.Generator
    ) -> list[int]:
        last_start = _last_start(video_num_frames, num_frames, stride_frames)
        start = int(torch.randint(last_start + 1, (), generator=generator))
        return _clip_from(start, video_num_frames, num_frames, stride_frames)

    def even_clips(self, video_num_frames: int, num_frames: int, stride_frames: int, num_clips: int) -> list[list[int]]:
        last_start = _last_start(video_num_frames, num_frames, stride_frames)
        if num_clips == 1:
            starts = [last_start // 2]
        else:
            starts = [last_start * clip // (num_clips - 1) for clip in range(num_clips)]
        return [_clip_from(start, video_num_frames, num_frames, stride_frames) for start in starts]


class _Uniform:
    def random_clip(
        self, video_num_frames: int, num_frames: int, stride_frames: int, generator: torch.Generator
    ) -> list[int]:
        return _one_of_each_segment(video_num_frames, [0.5] * num_frames)

    def even_clips(self, video_num_frames: int, num_frames: int, stride_frames: int, num_clips: int) -> list[list[int]]:
        return [_one_of_each_segment(video_num_frames, [place] * num_frames) for place in _places(num_clips)]


class _Segment(_Uniform):
    def random_clip(
        self, video_num_frames: int, num_frames: int, stride_frames: int, generator: torch.Generator
    ) -> list[int]:
        places: list[float] = torch.rand(num_frames, dtype=torch.float64, generator=generator).tolist()
        return _one_of_each_segment(video_num_frames, places)


class _Random(_Uniform):
    def random_clip(
        self, video_num_frames: int, num_frames: int, stride_frames: int, generator: torch.Generator
    ) -> list[int]:
        drawn: list[int] = torch.randint(video_num_frames, (num_frames,), generator=generator).sort().values.tolist()
        return drawn


class _ByPlace:
    """A user's function of a place in the video, from 0 to just below 1: drawn in training, even in evaluation."""

    def __init__(self, frames: Callable[[int, int, int, float], Sequence[int]]) -> None:
        self.frames = frames

    def random_clip(
        self, video_num_frames: int, num_frames: int, stride_frames: int, generator: torch.Generator
    ) -> Sequence[int]:
        place = float(torch.rand((), dtype=torch.float64, generator=generator))
        return self.frames(video_num_frames, num_frames, stride_frames, place)

    def even_clips(
        self, video_num_frames: int, num_frames: int, stride_frames: int, num_clips: int
    ) -> list[Sequence[int]]:
        return [self.frames(video_num_frames, num_frames, stride_frames, place) for place in _places(num_clips)]


SAMPLINGS: Registry[Any] = Registry(
    "sampling", {"dense": _Dense, "uniform": _Uniform, "segment": _Segment, "random": _Random}
)
"""Ways of sampling by the name that configurations use."""
register_sampling = SAMPLINGS.register


def random_clip_in_time(
    timestamps_seconds: torch.Tensor, num_frames: int, stride_seconds: float, generator: torch.Generator | None = None
) -> list[int]:
    """Frame indices of a clip at equal time steps, for any frame rate, from a random start.

    Args:
        timestamps_seconds: When each frame of the video is shown, ``(video_num_frames,)``, increasing from 0.
        num_frames: Number of frames in the clip.
        stride_seconds: Time between consecutive frames of the clip.
        generator: Where the randomness comes from; torch's global generator if ``None``.

    Returns:
        ``num_frames`` indices: the frames on screen at those times.
    """
    share = float(torch.rand((), generator=generator, dtype=torch.float64))
    return _clip_at(share, timestamps_seconds, num_frames, stride_seconds)


def even_clips_in_time(
    timestamps_seconds: torch.Tensor, num_frames: int, stride_seconds: float, num_clips: int
) -> list[list[int]]:
    """Frame indices of clips at equal time steps, with evenly spaced starts; a single one is centered.

    >>> even_clips_in_time(torch.tensor([0.0, 0.1, 0.2, 1.0, 2.0]), num_frames=2, stride_seconds=1.0, num_clips=2)
    [[0, 3], [3, 4]]

    Args:
        timestamps_seconds: When each frame of the video is shown, ``(video_num_frames,)``, increasing from 0.
        num_frames: Number of frames in each clip.
        stride_seconds: Time between consecutive frames of a clip.
        num_clips: Number of clips.

    Returns:
        ``num_clips`` lists of ``num_frames`` indices: the frames on screen at those times.
    """
    shares = [0.5] if num_clips == 1 else [clip / (num_clips - 1) for clip in range(num_clips)]
    return [_clip_at(share, timestamps_seconds, num_frames, stride_seconds) for share in shares]


def _clip_at(share: float, timestamps_seconds: torch.Tensor, num_frames: int, stride_seconds: float) -> list[int]:
    last_start = max(0.0, float(timestamps_seconds[-1]) - (num_frames - 1) * stride_seconds)
    times = share * last_start + torch.arange(num_frames, dtype=torch.float64) * stride_seconds
    return frames_shown_at(times, timestamps_seconds)


def frames_shown_at(times_seconds: torch.Tensor, timestamps_seconds: torch.Tensor) -> list[int]:
    """The frames on screen at some times; the first before its time, and the last for ever.

    >>> frames_shown_at(torch.tensor([-1.0, 0.35, 9.0]), torch.tensor([0.0, 0.1, 0.3, 0.4]))
    [0, 2, 3]

    Args:
        times_seconds: Any times.
        timestamps_seconds: When each frame of the video is shown, ``(video_num_frames,)``, increasing from 0.
    """
    # A frame is on screen from its timestamp on; a microsecond forgives the rounding of products.
    shown = torch.searchsorted(timestamps_seconds.double(), times_seconds.double() + ROUNDING_SECONDS, right=True) - 1
    indices: list[int] = shown.clamp_min(0).tolist()
    return indices


def _places(num_clips: int) -> list[float]:
    """Where clips lie in a video, or frames in their segments: evenly spaced, a single one in the middle."""
    return [(clip + 0.5) / num_clips for clip in range(num_clips)]


def _last_start(video_num_frames: int, num_frames: int, stride_frames: int) -> int:
    return max(0, video_num_frames - clip_span(num_frames, stride_frames))


def _clip_from(start: int, video_num_frames: int, num_frames: int, stride_frames: int) -> list[int]:
    return [min(start + step * stride_frames, video_num_frames - 1) for step in range(num_frames)]


def _one_of_each_segment(video_num_frames: int, places: list[float]) -> list[int]:
    """Cut the video into equal segments, and take of each the frame at its place, from 0 to just below 1."""
    length = video_num_frames / len(places)
    return [min(int((segment + place) * length), video_num_frames - 1) for segment, place in enumerate(places)]
