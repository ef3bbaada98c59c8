"""What loading is compared with: the same clip of the same file by decord, by torchcodec, and by pytorchvideo."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from videonl.benchmarks.loading_sides import CLIP, SPAN_FRAMES, File
from videonl.data.reading.torchcodec_reader import import_torchcodec

SeekMode = Literal["exact", "approximate"]
SEEK_MODES: tuple[SeekMode, ...] = ("exact", "approximate")


def decord_frames(file: File, draw: int) -> Tensor:
    """The same by decord's ``get_batch``, on one thread."""
    return get_batch(decord_reader(file.renamed()), file.indices(draw))


def decord_reader(path: Path) -> Any:
    """A ``VideoReader`` on one thread."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    return decord.VideoReader(str(path), num_threads=1)


def get_batch(reader: Any, indices: Sequence[int]) -> Tensor:
    """Frames as a tensor, whether or not pytorchvideo has switched decord to returning those."""
    batch = reader.get_batch(list(indices))
    return batch if isinstance(batch, Tensor) else torch.from_numpy(batch.asnumpy())


def decord_clip(file: File, draw: int) -> Tensor:
    """The frames of ``get_batch``, resized, cropped and mirrored by torchvision: uint8 (C, T, H, W)."""
    return _by_torchvision(decord_frames(file, draw))


def _by_torchvision(frames: Tensor) -> Tensor:
    crop = v2.Compose(
        [
            v2.Resize(CLIP.short_side_px, antialias=True),
            v2.RandomCrop(CLIP.crop_px),
            v2.RandomHorizontalFlip(),
        ]
    )
    cropped: Tensor = crop(frames.permute(0, 3, 1, 2))
    return cropped.transpose(0, 1).contiguous()


def torchcodec_frames(seek_mode: SeekMode, file: File, draw: int) -> Tensor:
    """The frames of a clip by torchcodec's ``get_frames_at``, on one thread: uint8 (T, H, W, 3).

    Args:
        seek_mode: ``exact`` goes through the file's packets first; ``approximate`` trusts the header and the average
            frame rate, and gives other frames where they mislead.
        file: The video.
        draw: Which clip of it.
    """
    decoder = import_torchcodec().VideoDecoder(
        str(file.renamed()), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=seek_mode
    )
    frames: Tensor = decoder.get_frames_at(file.indices(draw)).data
    return frames


def torchcodec_clip(seek_mode: SeekMode, file: File, draw: int) -> Tensor:
    """The same, resized, cropped and mirrored by torchvision: uint8 (C, T, H, W)."""
    return _by_torchvision(torchcodec_frames(seek_mode, file, draw))


def pytorchvideo_clips(file: File, num_clips: int, decoder: str) -> Callable[[int], Tensor]:
    """Clips of pytorchvideo's ``LabeledVideoDataset``, one after another, with the transforms of its tutorials."""
    from pytorchvideo.data import LabeledVideoDataset
    from pytorchvideo.data.clip_sampling import RandomClipSampler

    dataset = LabeledVideoDataset(
        [(str(file.path), {"label": 0})] * num_clips,
        RandomClipSampler(Fraction(SPAN_FRAMES) / Fraction(file.fps).limit_denominator(1001)),
        torch.utils.data.SequentialSampler,
        transform=_tutorial_transform,
        decode_audio=False,
        decoder=decoder,
    )
    return lambda draw: next(dataset)


def _tutorial_transform(sample: dict[str, Any]) -> Tensor:
    """UniformTemporalSubsample, ShortSideScale, RandomCrop and RandomHorizontalFlip, as pytorchvideo computes them.

    Its own module of transforms cannot be imported with today's torchvision.
    """
    video: Tensor = sample["video"]  # float32 (C, T, H, W)
    video = video[:, torch.linspace(0, video.shape[1] - 1, CLIP.num_frames).long()]
    height, width = video.shape[-2:]
    size = (height * CLIP.short_side_px // min(height, width), width * CLIP.short_side_px // min(height, width))
    video = F.interpolate(video, size, mode="bilinear", align_corners=False)
    crop = v2.Compose([v2.RandomCrop(CLIP.crop_px), v2.RandomHorizontalFlip()])
    cropped: Tensor = crop(video)
    return cropped
