"""The files that loading is timed on, and a clip of each by our reader and by our data set."""

import contextlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
from torch import Tensor

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


def prepare(files: Sequence[File], folder: Path) -> list[File]:
    """Re-encode files as ``videonl prepare`` does by default: a key frame in 16, short side 256 at most."""
    return [_prepared(file, folder) for file in files]


def _prepared(file: File, folder: Path) -> File:
    path = folder / f"{file.number}.mp4"
    encode(file.path, path, Encoding(), file.num_frames)
    return file._replace(path=path, links=folder, frame_table=scan(path).to_text())
