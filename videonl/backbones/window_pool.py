"""The average pool before a head, for clips of any size."""

from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones.contract import Size


class WindowPool(nn.Module):
    """Averages windows at stride 1, which are made smaller where the grid is.

    Args:
        window: (T, H, W) of a window, as it was published for one clip size.
    """

    def __init__(self, window: Size) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) to one mean for each place of the window."""
        window = [min(length, size) for length, size in zip(self.window, x.shape[2:], strict=True)]
        return F.avg_pool3d(x, window, stride=1)
