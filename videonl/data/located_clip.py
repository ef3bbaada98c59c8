"""One clip of a video, and where its frames and pixels lie in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from videonl.data.batches import Failure
from videonl.data.dataset import even_frames
from videonl.data.reading.decoding import DecodingError, VideoReader, open_video
from videonl.data.reading.segment import Place
from videonl.data.reading.video_reader import with_recount
from videonl.data.transforms import ClipFormat, Views, ViewTransform, crop_corners, resized_size
from videonl.data.video import Video


@dataclass(frozen=True)
class LocatedClip:
    """A clip as evaluation cuts it, with the way back to the video.

    Attributes:
        pixels: uint8 ``(C, T, H, W)``.
        video_frames: For each frame its index in the video. Where the video is too short its last one repeats.
        seconds: For each frame its time in the video, by the timestamps of the file.
        crop: (top, left, height, width) of what is seen, in pixels of the video's own frames.
    """

    pixels: torch.Tensor
    video_frames: tuple[int, ...]
    seconds: tuple[float, ...]
    crop: tuple[float, float, float, float]

    @property
    def num_repeated(self) -> int:
        """Number of frames that repeat others because the video is too short."""
        return len(self.video_frames) - len(set(self.video_frames))


class MiddleClips(Dataset[LocatedClip | Failure]):
    """The middle clip of each video, or why there is none.

    Args:
        videos: The videos.
        clip_format: Number and stride of the frames, size of the crop.
        decoder: A name in ``decoding.DECODERS``.
    """

    def __init__(self, videos: Sequence[Video], clip_format: ClipFormat, decoder: str = "auto") -> None:
        self.videos = videos
        self.clip_format = clip_format
        self.decoder = decoder

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> LocatedClip | Failure:
        """Decode the clip of one video."""
        path = self.videos[index].path
        try:
            return read_middle_clip(path, self.clip_format, self.decoder)
        except DecodingError as error:
            return Failure(error.path, error.reason)
        except OSError as error:
            return Failure(str(path), f"cannot be read ({error.strerror or error})")


def read_middle_clip(path: Place | str, clip_format: ClipFormat, decoder: str = "auto") -> LocatedClip:
    """Read the clip and the crop in the middle of a video: what evaluation with one view sees.

    Args:
        path: The video file, folder of frames, place in a shard, or a part of either.
        clip_format: Number and stride of the frames, size of the crop.
        decoder: A name in ``decoding.DECODERS``.

    Raises:
        DecodingError: The video cannot be decoded.
    """
    with open_video(path, decoder) as reader:
        return middle_clip_of(reader, clip_format)


def middle_clip_of(reader: VideoReader, clip_format: ClipFormat) -> LocatedClip:
    """As :func:`read_middle_clip`, of an open video."""
    indices, frames = with_recount(lambda: _middle_frames(reader, clip_format))
    seconds = reader.timestamps_seconds[indices]
    views = ViewTransform(clip_format, Views())
    (pixels,) = views(frames.permute(0, 3, 1, 2), [range(len(indices))])  # (T, H, W, C) -> (T, C, H, W)
    crop = middle_crop(frames.shape[1], frames.shape[2], clip_format)
    return LocatedClip(pixels, tuple(indices), tuple(seconds.tolist()), crop)


def _middle_frames(reader: VideoReader, clip_format: ClipFormat) -> tuple[list[int], torch.Tensor]:
    (indices,) = even_frames(reader, clip_format, num_clips=1)
    return indices, reader.read(indices)


def middle_crop(height_px: int, width_px: int, clip_format: ClipFormat) -> tuple[float, float, float, float]:
    """Where the middle crop lies in a frame before it is resized: top, left, height, width.

    >>> middle_crop(240, 320, ClipFormat(short_side_px=120, crop_px=100))
    (20.0, 60.0, 200.0, 200.0)
    """
    crop_px = clip_format.crop_px
    resized = resized_size(height_px, width_px, clip_format.short_side_px)
    ((top, left),) = crop_corners(*resized, crop_px, num_crops=1)
    down, across = height_px / resized[0], width_px / resized[1]
    return top * down, left * across, crop_px * down, crop_px * across
