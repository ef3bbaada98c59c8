"""Preprocessing as part of a network, bitwise identical to :func:`network_input`.

PyTorch resizes uint8 frames in whole numbers: bilinear weights with antialiasing, rounded to 16 bits, first along the
width and then along the height, each rounded to uint8. For frames of a fixed size this is one matrix product per axis.
float64 represents its products and sums exactly, so every runtime computes the same result.
"""

import torch
from torch import Tensor, nn

from videonl.data.transforms import ClipFormat, crop_corners, resized_size

_WEIGHT_BITS = 15  # of a rounded weight, without its sign
_MOST_BITS = 22


class WithPreprocessing(nn.Module):
    """A network that takes decoded frames and resizes, crops and normalizes them itself.

    Args:
        network: Takes normalized clips (B, 3, T, H, W).
        clip: What it expects of a clip.
        frame_px: Height and width of the frames; their short side is resized and their center cropped. By default the
            frames are already cropped.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, clip: ClipFormat, frame_px: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.network = network
        self.height_px, self.width_px = frame_px or (clip.crop_px, clip.crop_px)
        self.rows = self.columns = None
        if frame_px is not None:
            sizes_px = resized_size(*frame_px, clip.short_side_px)
            ((top, left),) = crop_corners(*sizes_px, clip.crop_px, 1)
            self.rows = Resizing(frame_px[0], sizes_px[0], slice(top, top + clip.crop_px))
            self.columns = Resizing(frame_px[1], sizes_px[1], slice(left, left + clip.crop_px))
        for name in ("mean", "std"):
            values = torch.tensor(getattr(clip, name), dtype=torch.float32).view(1, 3, 1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def prepare(self, frames: Tensor) -> Tensor:
        """Resizes, crops and normalizes.

        Args:
            frames: uint8 RGB, (B, T, H, W, 3).

        Returns:
            (B, 3, T, crop, crop).
        """
        pixels = frames.permute(0, 4, 1, 2, 3)  # (B, T, H, W, C) -> (B, C, T, H, W)
        if self.rows is not None and self.columns is not None:
            pixels = self.rows(self.columns(pixels).transpose(-1, -2)).transpose(-1, -2)
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std

    def forward(self, frames: Tensor) -> Tensor:
        """Logits (B, K) of frames (B, T, H, W, 3)."""
        logits: Tensor = self.network(self.prepare(frames))
        return logits


class Resizing(nn.Module):
    """Resizes the last axis of uint8 frames as PyTorch does, and crops it.

    Args:
        length: Length of the axis.
        size: Length after resizing.
        crop: The part that is kept after resizing.
    """

    matrix: Tensor

    def __init__(self, length: int, size: int, crop: slice) -> None:
        super().__init__()
        matrix, bits = resizing_matrix(length, size)
        self.register_buffer("matrix", matrix[crop].T.contiguous(), persistent=False)
        self.unit = 2.0**bits

    def forward(self, frames: Tensor) -> Tensor:
        """Whole numbers from 0 to 255, float64, (..., crop)."""
        sums = frames.double() @ self.matrix.double()
        return (sums / self.unit + 0.5).floor().clamp(0, 255)


def resizing_matrix(length: int, size: int) -> tuple[Tensor, int]:
    """The matrix that resizes one axis of uint8 frames as PyTorch does: bilinear, with antialiasing.

    Args:
        length: Length of the axis.
        size: Length after resizing.

    Returns:
        Integer weights in float64, (size, length), and the number of fractional bits b: a weight of 2**b means 1.
    """
    if size == length:
        return torch.eye(length, dtype=torch.float64), 0
    scale = length / size
    support = max(scale, 1.0)
    centers = scale * (torch.arange(size, dtype=torch.float64)[:, None] + 0.5)
    places = torch.arange(length, dtype=torch.float64)
    first = (centers - support + 0.5).trunc().clamp(min=0)
    end = (centers + support + 0.5).trunc().clamp(max=length)
    weights = (1 - ((places - centers + 0.5) * (1 / support)).abs()).clamp(min=0)
    weights = weights * ((places >= first) & (places < end))
    weights = weights / weights.sum(dim=1, keepdim=True)
    largest = float(weights.max())
    bits = max(bits for bits in range(_MOST_BITS + 1) if int(0.5 + largest * 2**bits) < 2**_WEIGHT_BITS)
    return (weights * 2**bits + 0.5).floor(), bits
