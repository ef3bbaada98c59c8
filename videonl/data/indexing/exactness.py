"""Whether a decoder returns the frames of sequential decoding, or neighbors of them."""

from pathlib import Path

import torch

from videonl.data.reading.decoding import DECODERS, DecodingError, check_decoder, open_video
from videonl.errors import UserError

_NUM_COMPARED = 4  # frames of a file at which decoders are compared
_REACH_FRAMES = 3  # wrong frames are up to three off
_THUMBNAIL_PX = 64
_TOLERANCE = 0.05  # of 255: rounding in the conversion of colors


def compared_frames(num_frames: int) -> set[int]:
    """The frames whose thumbnails :func:`exact_backends` needs: a few of the video, each with its neighbors."""
    centers = spread(num_frames, _NUM_COMPARED)
    return {near for index in centers for near in range(index - _REACH_FRAMES, index + _REACH_FRAMES + 1)}


def installed_backends() -> list[str]:
    """The decoders that can be compared; ``auto`` is one of the others."""
    return [name for name in DECODERS if name != "auto" and _is_installed(name)]


def is_exact(path: Path, backend: str, num_frames: int, thumbnails: dict[int, torch.Tensor]) -> bool:
    """Whether a decoder has that many frames, and returns each compared frame rather than a neighbor of it.

    Args:
        path: The video.
        backend: The decoder.
        num_frames: How many frames sequential decoding gives.
        thumbnails: Those of the ``compared_frames``, by sequential decoding.
    """
    # A header that counts too many leaves the last of these without a thumbnail.
    compared = [index for index in spread(num_frames, _NUM_COMPARED) if index in thumbnails]
    try:
        with open_video(path, backend) as reader:
            if reader.num_frames != num_frames:
                return False
            # One at a time: it is the jump to a frame that goes wrong.
            return all(_is_nearest(reader.read([index])[0], index, thumbnails) for index in compared)
    except DecodingError:
        return False


def thumbnail(rgb: torch.Tensor) -> torch.Tensor:
    """Every n-th pixel of ``(H, W, 3)``, as float."""
    step = max(1, min(rgb.shape[:2]) // _THUMBNAIL_PX)
    return rgb[::step, ::step].float()


def spread(num_frames: int, count: int) -> list[int]:
    """Evenly spaced indices with the first and the last.

    >>> spread(10, 4)
    [0, 3, 6, 9]
    """
    return sorted({place * (num_frames - 1) // (count - 1) for place in range(count)})


def _is_installed(backend: str) -> bool:
    try:
        check_decoder(backend)
    except UserError:
        return False
    return True


def _is_nearest(frame: torch.Tensor, index: int, thumbnails: dict[int, torch.Tensor]) -> bool:
    shown = thumbnail(frame)
    if shown.shape != thumbnails[index].shape:
        return False
    near = range(index - _REACH_FRAMES, index + _REACH_FRAMES + 1)
    distances = {other: float((shown - thumbnails[other]).abs().mean()) for other in near if other in thumbnails}
    return distances[index] <= min(distances.values()) + _TOLERANCE
