"""What loading is compared with: the same clip of the same file by our data set, by decord, and by pytorchvideo."""

import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from videonl.data.augmentation import Augmentation, TrainTransform
from videonl.data.dataset import TrainingClips
from videonl.data.preparing.encoding import Encoding, encode
from videonl.data.randomness import seeded
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.data.reading.scan import scan
from videonl.data.sampling import clip_span, random_clip
from videonl.data.transforms import ClipFormat
from videonl.data.video import Video
from videonl.errors import UserError

CLIP = ClipFormat()  # 8 frames, 8 apart; 224 x 224 out of a short side of 256
SPAN_FRAMES = clip_span(CLIP.num_frames, CLIP.stride_frames)


_NUMBERS = itertools.count()


class File(NamedTuple):
    """A video to read clips of.

    Attributes:
        path: Where it is.
        links: Where its further names go.
        number: Its place among the files.
        num_frames: Number of its frames.
        fps: Its frames per second.
        frame_table: Its frames, as an index keeps them.
    """

    path: Path
    links: Path
    number: int
    num_frames: int
    fps: float
    frame_table: str

    def renamed(self) -> Path:
        """The file under a name that it never had, so that nothing kept from an earlier read helps a side."""
        link = self.links / f"link_{os.getpid()}_{next(_NUMBERS)}{self.path.suffix}"
        link.symlink_to(self.path.absolute())
        return link

    def indices(self, draw: int) -> list[int]:
        """The frames of a random clip: those that our data set takes when this draw is its epoch."""
        with seeded(0, draw, self.number):
            return random_clip(self.num_frames, CLIP.num_frames, CLIP.stride_frames)


def find_files(folder: Path, links: Path) -> list[File]:
    """The H.264 files of a folder that hold a whole clip, and as many frames for decord, so that all read the same.

    Args:
        folder: Where to look, and in the folders in it.
        links: An empty folder, where the files get further names.

    Raises:
        UserError: There is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Name one with videos in it.")
    files: list[File] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with contextlib.suppress(DecodingError, av.FFmpegError):
            if _codec(path) == "h264":
                with open_video(path, "decord") as theirs, open_video(path) as ours:
                    if ours.num_frames == theirs.num_frames >= SPAN_FRAMES:
                        table = ours.table.to_text()
                        files.append(File(path, links, len(files), ours.num_frames, ours.fps, table))
    if not files:
        raise UserError(f"{folder}: no H.264 file of at least {SPAN_FRAMES} frames in it that decord opens.")
    return files


def _codec(path: Path) -> str:
    with av.open(str(path)) as container:
        stream: Any = container.streams.best("video")
        return "" if stream is None else str(stream.codec_context.name)


def our_frames(file: File, draw: int) -> Tensor:
    """The frames of a clip, by our reader with its defaults: uint8 (T, H, W, 3)."""
    with open_video(file.renamed()) as reader:
        return reader.read(file.indices(draw))


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


def our_clip(file: File, draw: int) -> Tensor:
    """A clip of our data set, cropped at random and mirrored half of the time: uint8 (C, T, H, W)."""
    return _from_data_set(Video(file.renamed(), 0), file, draw)


def our_indexed_clip(file: File, draw: int) -> Tensor:
    """The same, with the frame table that an index has of the file."""
    return _from_data_set(Video(file.renamed(), 0, file.frame_table), file, draw)


def _from_data_set(video: Video, file: File, draw: int) -> Tensor:
    # One video under all numbers: the number is part of what the randomness is a function of.
    return TrainingClips([video] * (file.number + 1), CLIP, plain_transform())[draw, file.number]["clip"][0]


def plain_transform() -> TrainTransform:
    """Our transform, which always cuts out of the same short side."""
    return TrainTransform(CLIP, Augmentation(short_side_px=(CLIP.short_side_px, CLIP.short_side_px)))


def decord_clip(file: File, draw: int) -> Tensor:
    """The frames of ``get_batch``, resized, cropped and mirrored by torchvision: uint8 (C, T, H, W)."""
    crop = v2.Compose(
        [
            v2.Resize(CLIP.short_side_px, antialias=True),
            v2.RandomCrop(CLIP.crop_px),
            v2.RandomHorizontalFlip(),
        ]
    )
    frames: Tensor = crop(decord_frames(file, draw).permute(0, 3, 1, 2))
    return frames.transpose(0, 1).contiguous()


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


def prepare(files: Sequence[File], folder: Path) -> list[File]:
    """Re-encode files as ``videonl prepare`` does by default: a key frame in 16, short side 256 at most."""
    return [_prepared(file, folder) for file in files]


def _prepared(file: File, folder: Path) -> File:
    path = folder / f"{file.number}.mp4"
    encode(file.path, path, Encoding(), file.num_frames)
    return file._replace(path=path, links=folder, frame_table=scan(path).to_text())
