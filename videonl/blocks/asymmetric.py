"""Asymmetric non-local blocks, whose keys and values are a few pooled bins (Zhu et al. 2019, arXiv:1908.07678)."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from videonl import ops
from videonl.blocks.contract import AttentionBlock, register_block, require_features
from videonl.blocks.factors import Factors, ProductWeights
from videonl.blocks.options import require_known, require_positive

Wrapper = Literal["residual", "concat"]
Levels = Sequence[tuple[int, int, int]]
LEVELS: Levels = ((1, 1, 1), (2, 3, 3), (2, 6, 6), (2, 8, 8))
"""The paper's 1, 3, 6, 8 in space and at most 2 in time: S = 1 + 18 + 72 + 128 = 219 bins."""


class Asymmetric(AttentionBlock):
    """Common part of both asymmetric blocks: values, the softmax over bins, and the wrapper around it.

    Args:
        channels: Channels C of the features.
        low_channels: Channels of the features that keys and values come from.
        dim_inner: Channels of queries and keys; half of ``channels`` (at least 1) when None.
        dim_value: Channels of values; likewise.
        sizes: Bins (s_T, s_H, s_W) of each level of the pyramid.
        wrapper: ``residual``: x + W y; or ``concat``: a projection of cat(W y, x), with norm and dropout.
        dropout: Probability within the ``concat`` wrapper.
    """

    fuse_relu: ClassVar[bool] = True  # whether the concat wrapper has one

    def __init__(
        self,
        channels: int,
        low_channels: int,
        dim_inner: int | None,
        dim_value: int | None,
        sizes: Levels,
        wrapper: Wrapper,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dim_inner = max(channels // 2, 1) if dim_inner is None else dim_inner
        dim_value = max(channels // 2, 1) if dim_value is None else dim_value
        require_positive(channels=channels, low_channels=low_channels, dim_inner=self.dim_inner, dim_value=dim_value)
        require_known(get_args(Wrapper), wrapper=wrapper)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.levels = _checked(sizes)
        self.scale = 1 / math.sqrt(self.dim_inner)
        self.identity_at_init = wrapper == "residual"
        self.g = nn.Conv3d(low_channels, dim_value, kernel_size=1)
        self.out = nn.Conv3d(dim_value, channels, kernel_size=1)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.fuse: nn.Sequential | None = None
        if wrapper == "concat":
            conv = nn.Conv3d(2 * channels, channels, kernel_size=1)
            # As in the authors' code, of whole channels: cells beside each other say much the same.
            ends = [nn.ReLU(), nn.Dropout3d(dropout)] if self.fuse_relu else [nn.Dropout3d(dropout)]
            self.fuse = nn.Sequential(conv, nn.BatchNorm3d(channels), *ends)

    def _relate(self, x: Tensor, theta: Tensor, phi: Tensor, low: Tensor) -> Tensor:
        """Lets x read the bins: theta over the grid of x, phi and the values over the grid of low."""
        # g is linear, so it commutes with the mean: pooled first, it projects S bins instead of every position.
        g = self.g(ops.pyramid_pool(low, self.levels)[..., None, None])  # (B, C, S, 1, 1)
        keys = ops.pyramid_pool(phi, self.levels).transpose(1, 2)  # (B, Ci, S) -> (B, S, Ci)
        y = ops.embedded_gaussian(_rows(theta), keys, _rows(g), scale=self.scale)
        change: Tensor = self.out(y.transpose(1, 2).unflatten(2, x.shape[2:]))  # (B, N, Cv) -> (B, C, T, H, W)
        if self.fuse is None:
            return x + change
        fused: Tensor = self.fuse(torch.cat([change, x], dim=1))
        return fused

    def _read(self, theta: Tensor, phi: Tensor, queries: Tensor) -> Tensor:
        """Weights of the asked positions, spread from the bins over the grid of phi."""
        weights, means = self._read_bins(_rows(theta)[:, queries], phi)
        cells = ops.pyramid_spread(weights, means)
        return cells.reshape(*cells.shape[:2], *phi.shape[2:])  # (B, Q, N) -> (B, Q, T', H', W')

    def _factors(self, theta: Tensor, phi: Tensor) -> Factors:
        """Weights of the bins for every position, and the cells of every bin."""
        weights, means = self._read_bins(_rows(theta), phi)
        return ProductWeights(weights[0], means, theta.shape[2:], phi.shape[2:])

    def _read_bins(self, theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the bins for some rows of theta, (B, Q, S), and the matrix of the pyramid, (S, M)."""
        keys = ops.pyramid_pool(phi, self.levels).transpose(1, 2)  # (B, Ci, S) -> (B, S, Ci)
        weights = ops.embedded_gaussian_weights(theta, keys, scale=self.scale)
        return weights, ops.pyramid_matrix(self.levels, phi.shape[2:], dtype=weights.dtype, device=weights.device)


@register_block("asymmetric_pyramid")
class AsymmetricPyramid(Asymmetric):
    """APNB: every position attends to S pooled bins of a spacetime pyramid instead of all positions.

    Source: section 3.2 of arXiv:1908.07678. Queries and keys are one embedding, convolution, norm and ReLU; the weights
    are softmax(Ci^-0.5 theta_i . phi_s). The cost is N x S. The last projection W starts at 0, so with the residual
    wrapper the block starts as the identity.

    Args:
        channels: Channels C of the features.
        dim_inner: Channels Ci of queries and keys; half of ``channels`` (at least 1) when not given.
        dim_value: Channels of values; half of ``channels`` (at least 1) when not given.
        sizes: Bins (s_T, s_H, s_W) of each level of the pyramid; S is the sum of their products, 219 by default. On an
            axis with fewer cells than bins, bins repeat cells.
        wrapper: ``residual``: x + W y; or ``concat``, as published: cat(W y, x) -> convolution -> norm -> ReLU ->
            dropout, which is not the identity at the start.
        dropout: Probability within the ``concat`` wrapper.

    Raises:
        ValueError: When a size is not a positive number or a choice is not one of those above.

    Examples:
        >>> block = AsymmetricPyramid(6)
        >>> x = torch.randn(2, 6, 3, 5, 7)
        >>> torch.equal(block(x), x)  # the identity at initialization
        True
        >>> block.attention(x, torch.tensor([0, 104])).shape  # each bin's weight, in equal parts on its cells
        torch.Size([2, 2, 3, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        dim_inner: int | None = None,
        dim_value: int | None = None,
        sizes: Levels = LEVELS,
        wrapper: Wrapper = "residual",
        dropout: float = 0.05,
    ) -> None:
        super().__init__(channels, channels, dim_inner, dim_value, sizes, wrapper, dropout)
        self.theta = _embedding(channels, self.dim_inner)
        _update_twice(self.theta[1])

    def forward(self, x: Tensor) -> Tensor:
        """Attends from every position to the bins of the pyramid; see :class:`AttentionBlock`."""
        require_features(x)
        theta = self.theta(x)
        return self._relate(x, theta, theta, x)

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        """Weights of the bins, spread equally over their cells; see :class:`AttentionBlock`."""
        require_features(x)
        theta = self.theta(x)
        return self._read(theta, theta, queries)

    def factors(self, x: Tensor) -> Factors:
        """Weights of the bins for every position; see :class:`AttentionBlock`."""
        require_features(x)
        theta = self.theta(x)
        return self._factors(theta, theta)


@register_block("asymmetric_fusion")
class AsymmetricFusion(Asymmetric):
    """AFNB: positions of a high stage attend to the pooled bins of a lower stage, which may have another grid.

    Source: section 3.3 of arXiv:1908.07678. Queries come from the high stage, keys and values from the low one, each
    with a projection of its own; otherwise it is :class:`AsymmetricPyramid`. Without ``low`` the block attends to
    its own features, which must then have ``low_channels`` channels.

    Args:
        channels: Channels C of the high stage.
        low_channels: Channels of the low stage; ``channels`` when not given. Insertion into a backbone fills it in.
        dim_inner: Channels Ci of queries and keys; half of ``channels`` (at least 1) when not given.
        dim_value: Channels of values; half of ``channels`` (at least 1) when not given.
        sizes: Bins (s_T, s_H, s_W) of each level of the pyramid over the low stage; 219 bins by default.
        wrapper: ``residual``: high + W y; or ``concat``, as published: cat(W y, high) -> convolution -> norm ->
            dropout, without a ReLU, which is not the identity at the start.
        dropout: Probability within the ``concat`` wrapper.

    Raises:
        ValueError: When a size is not a positive number or a choice is not one of those above.

    Examples:
        >>> block = AsymmetricFusion(6, low_channels=3)
        >>> high, low = torch.randn(2, 6, 2, 3, 5), torch.randn(2, 3, 4, 7, 11)
        >>> torch.equal(block(high, low), high)  # the identity at initialization
        True
        >>> block.attention(high, torch.tensor([0, 29]), low).shape  # over the cells of the low stage
        torch.Size([2, 2, 4, 7, 11])
    """

    takes_low = True
    fuse_relu = False

    def __init__(
        self,
        channels: int,
        *,
        low_channels: int | None = None,
        dim_inner: int | None = None,
        dim_value: int | None = None,
        sizes: Levels = LEVELS,
        wrapper: Wrapper = "residual",
        dropout: float = 0.05,
    ) -> None:
        low_channels = channels if low_channels is None else low_channels
        super().__init__(channels, low_channels, dim_inner, dim_value, sizes, wrapper, dropout)
        self.theta = _embedding(channels, self.dim_inner)
        self.phi = _embedding(low_channels, self.dim_inner)

    def forward(self, x: Tensor, low: Tensor | None = None) -> Tensor:
        """Attends from every position of x to the bins of low, (B, C', T', H', W'); see :class:`AttentionBlock`."""
        low = x if low is None else low
        require_features(x)
        require_features(low)
        return self._relate(x, self.theta(x), self.phi(low), low)

    def attention(self, x: Tensor, queries: Tensor, low: Tensor | None = None) -> Tensor:
        """Weights of positions of x over the cells of low, (B, Q, T', H', W'); see :class:`AttentionBlock`."""
        low = x if low is None else low
        require_features(x)
        require_features(low)
        return self._read(self.theta(x), self.phi(low), queries)

    def factors(self, x: Tensor, low: Tensor | None = None) -> Factors:
        """Weights of the bins of low for every position of x; see :class:`AttentionBlock`."""
        low = x if low is None else low
        require_features(x)
        require_features(low)
        return self._factors(self.theta(x), self.phi(low))


def _embedding(channels: int, dim_inner: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(channels, dim_inner, kernel_size=1), nn.BatchNorm3d(dim_inner), nn.ReLU())


def _update_twice(norm: nn.Module) -> None:
    """Moves running statistics as far as two updates do: the authors' code runs the shared embedding for each use."""
    assert isinstance(norm, nn.BatchNorm3d) and norm.momentum is not None
    norm.momentum = 1 - (1 - norm.momentum) ** 2


def _checked(sizes: Levels) -> list[tuple[int, ...]]:
    levels = [tuple(level) for level in sizes]
    if not levels or any(len(level) != 3 or min(level) < 1 for level in levels):
        raise ValueError(f"sizes must be (s_T, s_H, s_W) for each level, every number at least 1, got {sizes!r}")
    return levels


def _rows(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (B, C, *grid) -> (B, N, C)
