"""A video as a folder of images (``img_00001.jpg``, ...), as older tools extract them."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.video_reader import DecodingError, VideoReader

# Named, since Pillow goes by what is in a file: for some formats it starts other programs, as for EPS Ghostscript.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
_FLOW_PREFIXES = ("flow", "x_", "y_")  # mmaction2 keeps optical flow in the same folder
NOMINAL_FPS = 25  # images do not say


class FrameFolderReader(VideoReader):
    """Reads the images of a folder as the frames of a video, in the order of the numbers in their names.

    Args:
        path: The folder. Images of optical flow (``flow_x_00001.jpg``, ``x_00001.jpg``) are not its frames.

    Raises:
        DecodingError: There are no images in it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.images = frame_images(self.path)
        if not self.images:
            raise DecodingError(self.path, "is a folder without images")
        self.table = FrameTable(
            container="frames",
            codec=self.images[0].suffix.lower().lstrip("."),
            stream_index=0,
            file_size_bytes=0,
            timestamps_pts=tuple(range(len(self.images))),
            time_base=(1, NOMINAL_FPS),
            nominal_fps=NOMINAL_FPS,
        )

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        self._check_indices(indices)
        frames = {index: self._frame(index) for index in set(indices)}
        sizes = sorted({tuple(frame.shape) for frame in frames.values()})
        if len(sizes) > 1:
            raise DecodingError(self.path, f"its images differ in size ({sizes}); extract them again")
        return torch.stack([frames[index] for index in indices])

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _frame(self, index: int) -> torch.Tensor:
        try:
            with Image.open(self.images[index], formats=_FORMATS) as image:
                return torch.from_numpy(np.array(ImageOps.exif_transpose(image).convert("RGB")))
        except UnidentifiedImageError as error:
            reason = f"{self.images[index].name} is not one of {', '.join(_FORMATS)}, or is damaged"
            raise DecodingError(self.path, reason) from error
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's for broken images
            raise DecodingError(self.path, f"{self.images[index].name} cannot be decoded ({error})") from error


def is_frame_folder(path: Path) -> bool:
    """Whether it is a folder with images directly in it."""
    if not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(is_frame_name(entry.name) for entry in entries)


def frame_images(folder: Path) -> list[Path]:
    """The images that are frames, in the order of the numbers in their names."""
    return sorted((path for path in folder.iterdir() if is_frame_name(path.name)), key=_number_and_name)


def numbers_are_consecutive(images: Sequence[Path]) -> bool:
    """Whether no frame is missing between the first and the last.

    >>> numbers_are_consecutive([Path("img_00007.jpg"), Path("img_00008.jpg"), Path("img_00010.jpg")])
    False
    """
    numbers = [_number_and_name(path)[0] for path in images]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def is_frame_name(name: str) -> bool:
    """Whether an image of this name is a frame, rather than optical flow or hidden."""
    lower = name.lower()
    return lower.endswith(tuple(_IMAGE_SUFFIXES)) and not lower.startswith((*_FLOW_PREFIXES, "."))


def _number_and_name(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else 0), path.name
