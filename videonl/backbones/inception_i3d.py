"""Inception I3D: Inception-v1 with every convolution and pool inflated to space and time.

Source: Carreira and Zisserman 2017, "Quo Vadis, Action Recognition?", figure 3, arXiv:1705.07750. ``state_dict`` keys
are those of its public PyTorch port (piergiaj, pytorch-i3d), whose weights fit.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones.contract import Backbone, Size
from videonl.backbones.window_pool import WindowPool

# Output channels of the branches: 1x1x1; reduction and 3x3x3, twice; projection of the pool.
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
POOLS: dict[str, tuple[Size, Size]] = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
ORDER = (
    *("Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3"),
    *("Mixed_3b", "Mixed_3c", "MaxPool3d_4a_3x3"),
    *("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f", "MaxPool3d_5a_2x2"),
    *("Mixed_5b", "Mixed_5c"),
)


def i3d_inception(num_classes: int, *, dropout: float = 0.5, in_channels: int = 3) -> Backbone:
    """Builds the Inception I3D.

    Args:
        num_classes: Size of the head.
        dropout: Probability before the head.
        in_channels: Channels of a clip: 3 of RGB, or 2 of optical flow, which the second network of the paper reads.

    Returns:
        The backbone with stages ``mixed_3``, ``mixed_4`` and ``mixed_5``: the modules between two pools, on grids of an
        8th, 16th and 32nd of the height. It accepts clips of any size. Published at 64 frames of 224 pixels scaled to
        -1..1.
    """
    stages = {f"mixed_{level}": tuple(name for name in MIXED if name[6] == level) for level in "345"}
    return Backbone(InceptionI3D(num_classes, dropout, in_channels), stages, clip=(64, 224, 224))


class InceptionI3D(nn.Module):
    """The network; see :func:`i3d_inception`.

    Args:
        num_classes: Size of the head.
        dropout: Probability before the head.
        in_channels: Channels of a clip.
    """

    def __init__(self, num_classes: int, dropout: float, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.Conv3d_1a_7x7 = Unit(in_channels, 64, (7, 7, 7), (2, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, (3, 3, 3))
        for name, (kernel, stride) in POOLS.items():
            self.add_module(name, SamePool(kernel, stride))
        channels = 192
        for name, widths in MIXED.items():
            self.add_module(name, Mixed(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        # As published: windows of 2 frames, so that the first and the last count half.
        self.avg_pool = WindowPool((2, 7, 7))
        self.dropout = nn.Dropout(dropout)
        self.logits = Unit(channels, num_classes, last=True)

    def forward(self, clip: Tensor) -> Tensor:
        """Scores clips (B, in_channels, T, H, W): logits (B, num_classes), averaged over time and space."""
        x = clip
        for name in ORDER:
            x = getattr(self, name)(x)
        logits: Tensor = self.logits(self.dropout(self.avg_pool(x)))
        return logits.mean(dim=(2, 3, 4))


class Unit(nn.Module):
    """Convolution with SAME padding, batch norm and ReLU; for the head a convolution with bias alone.

    Args:
        channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Of the convolution, (T, H, W).
        stride: Likewise.
        last: Whether it is the head.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: Size = (1, 1, 1),
        stride: Size = (1, 1, 1),
        *,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv3d = nn.Conv3d(channels, out_channels, kernel, stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(out_channels, eps=0.001, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) to (B, C', ceil(T / s_T), ceil(H / s_H), ceil(W / s_W))."""
        x = self.conv3d(same_pad(x, self.kernel, self.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class SamePool(nn.Module):
    """Max pool with SAME padding; zeros do, since its input has passed a ReLU.

    Args:
        kernel: (T, H, W).
        stride: Likewise.
    """

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) to (B, C, ceil(T / s_T), ceil(H / s_H), ceil(W / s_W))."""
        return F.max_pool3d(same_pad(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """The Inception module: four branches side by side, under the port's names.

    Args:
        channels: Channels of the input.
        widths: Output channels of the branches, as in ``MIXED``.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit(channels, widths[0])
        self.b1a = Unit(channels, widths[1])
        self.b1b = Unit(widths[1], widths[2], (3, 3, 3))
        self.b2a = Unit(channels, widths[3])
        self.b2b = Unit(widths[3], widths[4], (3, 3, 3))
        self.b3a = SamePool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(channels, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        """Concatenates what the branches make of (B, C, T, H, W)."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


def same_pad(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Pads with zeros as TensorFlow does for SAME: ceil(size / stride) windows fit, and the odd zero stands at the end.

    >>> same_pad(torch.ones(1, 1, 1, 1, 5), (1, 1, 3), (1, 1, 2)).flatten().tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    >>> same_pad(torch.ones(1, 1, 1, 1, 6), (1, 1, 3), (1, 1, 2)).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    sides: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):  # F.pad starts with the last axis
        missing = max((-(-size // s) - 1) * s + k - size, 0)
        sides += [missing // 2, missing - missing // 2]
    return F.pad(x, sides) if any(sides) else x
