"""The non-local block (Wang et al. 2018, arXiv:1711.07971)."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from videonl import ops
from videonl.blocks.contract import AttentionBlock

INIT_STD = 0.01  # of every projection, as in the authors' code


class NonLocal(AttentionBlock):
    """Embedded-Gaussian spacetime non-local block: ``z = BN(W y) + x``, ``y_i = sum_j softmax_j(theta_i . phi_j) g_j``.

    Source: equations 2, 4 and 6 of arXiv:1711.07971. Every position reads every other position of the clip. The last
    norm starts with gamma = 0, so the block starts as the identity.

    Args:
        channels: Channels C of the features.
        dim_inner: Channels Ci of theta, phi and g; half of ``channels`` (at least 1) when not given.
        subsample: Max-pool phi and g by (1, 2, 2), which makes keys four times fewer; odd sizes floor, and an axis of
            one position is left alone.
        scale: Divide the logits by sqrt(Ci). Off in the paper, on in PySlowFast and pytorchvideo.

    Raises:
        ValueError: When a size is not a positive number.

    Example:
        >>> import torch
        >>> block = NonLocal(6)
        >>> x = torch.randn(2, 6, 3, 5, 7)
        >>> torch.equal(block(x), x)  # the identity at initialisation
        True
        >>> block.attention(x, torch.tensor([0, 104])).shape
        torch.Size([2, 2, 3, 2, 3])
    """

    def __init__(
        self,
        channels: int,
        *,
        dim_inner: int | None = None,
        subsample: bool = True,
        scale: bool = False,
    ) -> None:
        super().__init__()
        dim_inner = max(channels // 2, 1) if dim_inner is None else dim_inner
        for name, value in (("channels", channels), ("dim_inner", dim_inner)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.subsample = subsample
        self.scale = 1 / math.sqrt(dim_inner) if scale else 1.0
        self.theta = nn.Conv3d(channels, dim_inner, kernel_size=1)
        self.phi = nn.Conv3d(channels, dim_inner, kernel_size=1)
        self.g = nn.Conv3d(channels, dim_inner, kernel_size=1)
        self.out = nn.Conv3d(dim_inner, channels, kernel_size=1)
        self.norm = nn.BatchNorm3d(channels)
        self._initialise()

    def _initialise(self) -> None:
        for conv in (self.theta, self.phi, self.g, self.out):
            nn.init.normal_(conv.weight, std=INIT_STD)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Adds to every position what it reads from all others; see :class:`AttentionBlock`."""
        theta = _positions(self.theta(x))
        phi = _positions(self._pool(self.phi(x)))
        g = _positions(self._pool(self.g(x)))
        y = ops.embedded_gaussian(theta, phi, g, scale=self.scale)
        y = y.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])  # (B, N, Ci) -> (B, Ci, T, H, W)
        # x first: the sum keeps its first term's memory format, and convolutions after the block round as without it.
        z: Tensor = x + self.norm(self.out(y))
        return z

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        """Softmax weights of the asked positions; see :class:`AttentionBlock`."""
        asked = x.flatten(2)[:, :, queries]  # (B, C, T, H, W) -> (B, C, Q)
        theta = _positions(self.theta(asked[..., None, None]))
        keys = self._pool(self.phi(x))
        weights = ops.embedded_gaussian_weights(theta, _positions(keys), scale=self.scale)
        return weights.reshape(*weights.shape[:2], *keys.shape[2:])  # (B, Q, M) -> (B, Q, T', H', W')

    def _pool(self, x: Tensor) -> Tensor:
        if not self.subsample:
            return x
        height, width = x.shape[-2:]
        return F.max_pool3d(x, kernel_size=(1, min(2, height), min(2, width)))


def _positions(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (B, C, T, H, W) -> (B, N, C)
