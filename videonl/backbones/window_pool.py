"""The average pool before a head, for clips of any size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WindowPool(nn.Module):
    """Averages windows at stride 1, which are made smaller where the grid is.

    Args:
        window: (T, H, W) of a window, as it was published for one clip size. None spans the whole axis.
    """

    def __init__(self, window: Sequence[int | None]) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) to one mean for each place of the window."""
        lengths = zip(self.window, x.shape[2:], strict=True)
        window = [size if length is None else min(length, size) for length, size in lengths]
        # CPUs have this pool in float32 and float64 alone.
        wide = x.float() if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16) else x
        return F.avg_pool3d(wide, window, stride=1).to(x.dtype)
