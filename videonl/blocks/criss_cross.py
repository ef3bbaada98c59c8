"""Criss-cross attention (Huang et al. 2019, arXiv:1811.11721) and axial attention, one axis after another."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl import ops
from videonl.blocks.contract import AttentionBlock, Gain, register_block, require_features, root_mean_square
from videonl.blocks.factors import Factors, HopWeights
from videonl.blocks.options import require_known, require_positive

CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
Gate = Literal["hops", "block"]


class LineAttention(nn.Module):
    """One hop: ``gamma * y + x``, where y attends from every position to the lines through it along some axes.

    Args:
        channels: Channels C of the features.
        dim_inner: Channels of theta and phi.
        axes: Axes of the features to attend along; T, H, W are 2, 3, 4.
        num_dims: Axes of the grid.
        gamma: At initialization.
    """

    def __init__(
        self, channels: int, dim_inner: int, axes: Sequence[int], num_dims: Literal[2, 3], gamma: float
    ) -> None:
        super().__init__()
        self.axes = tuple(axes)
        conv = CONVS[num_dims]
        self.theta = conv(channels, dim_inner, kernel_size=1)
        self.phi = conv(channels, dim_inner, kernel_size=1)
        self.g = conv(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.full((1,), gamma))

    def forward(self, x: Tensor) -> Tensor:
        """Adds to every position its attention over its lines; fastest with channels-last memory."""
        return torch.addcmul(x, self.gamma, ops.criss_cross(self.theta(x), self.phi(x), self.g(x), self.axes))

    def weights(self, x: Tensor) -> Tensor:
        """Weights of every position over its lines, (B, *grid, S)."""
        return ops.criss_cross_weights(self.theta(x), self.phi(x), self.axes)


class LineHops(AttentionBlock):
    """Hops of line attention, one after another; the same hop may be repeated.

    Args:
        num_dims: Axes of the grid: 3 for features (B, C, T, H, W), 2 for (B, C, H, W).
        gate: Which gamma starts at 0, those of the ``hops`` or one of the whole ``block``.
    """

    def __init__(self, num_dims: Literal[2, 3], gate: Gate) -> None:
        super().__init__()
        require_known(CONVS, num_dims=num_dims)
        require_known(get_args(Gate), gate=gate)
        self.num_dims = num_dims
        self.gamma = nn.Parameter(torch.zeros(1)) if gate == "block" else None
        self._gamma_of_hops = 1.0 if gate == "block" else 0.0

    @abstractmethod
    def hops(self) -> list[LineAttention]:
        """The hops in the order of the forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies the hops; see :class:`AttentionBlock`."""
        z = self._innermost(x)
        for hop in self.hops():
            z = hop(z)
        if self.gamma is not None:
            return torch.addcmul(x, self.gamma, z - x)
        return torch.empty_like(x, dtype=z.dtype).copy_(z)  # in the memory format of x, for the layers that follow

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        """The given rows of the product of the hops' weights; see :class:`AttentionBlock`.

        With ``A_r`` the N x N weights of hop r for its input, these are rows of ``A_R ... A_2 A_1``: the sources of the
        paths through every hop's aggregation. Paths that skip a hop through its residual are not included, nor
        are gamma and g; every row therefore sums to 1.
        """
        weights = self._hop_weights(x)
        rows = F.one_hot(queries, x[0, 0].numel()).to(weights[0].dtype)
        rows = rows.expand(x.shape[0], -1, -1).unflatten(2, x.shape[2:])  # (Q, N) -> (B, Q, *grid)
        for hop, hop_weights in zip(reversed(self.hops()), reversed(weights), strict=True):
            rows = ops.criss_cross_hop(rows, hop_weights, hop.axes)
        return rows

    def factors(self, x: Tensor) -> Factors:
        """The weights of every hop; see :class:`AttentionBlock`."""
        weights = tuple(hop[0].flatten(0, -2) for hop in self._hop_weights(x))  # (1, *grid, S) -> (N, S)
        return HopWeights(weights, tuple(hop.axes for hop in self.hops()), x.shape[2:])

    def gain(self) -> Gain:
        """The gammas that start at 0."""
        return Gain(
            root_mean_square([hop.gamma for hop in self.hops()] if self.gamma is None else [self.gamma]), "gamma"
        )

    def _hop_weights(self, x: Tensor) -> list[Tensor]:
        """What every hop reads of the features that reach it: (B, *grid, S) each."""
        z, weights = self._innermost(x), []
        for hop in self.hops():
            weights.append(hop.weights(z))
            z = hop(z)
        return weights

    def _innermost(self, x: Tensor) -> Tensor:
        require_features(x, self.num_dims)
        # Channels innermost for all hops: a line is then a matrix as it stands, and 1x1x1 convolutions are faster too.
        return x.contiguous(memory_format=CHANNELS_LAST[self.num_dims])


@register_block("criss_cross")
class CrissCross(LineHops):
    """Recurrent criss-cross attention: every position attends to its axis lines, R times with shared weights.

    Source: section 3.3 of arXiv:1811.11721. One softmax, without a scale, runs over the T + H + W - 2 positions on the
    three lines. A position reaches any other in as many recurrences as the grid has axes: 3 for clips, 2 for images.
    A gamma starts at 0, so the block starts as the identity.

    Args:
        channels: Channels C of the features.
        num_recurrences: R, the number of hops.
        reduction: theta and phi have C / reduction channels, at least 1.
        num_dims: 3 for features (B, C, T, H, W), 2 for (B, C, H, W).
        gate: What makes the block the identity at its start. ``hops``: each hop has a gamma of 0, as published. A path
            over k hops then has a gradient of order gamma^(k-1), and what takes several hops is hardly ever learned
            from scratch. ``block``: hops start with gamma 1, and one gamma of the block, at 0, scales what they change.

    Raises:
        ValueError: When a size is not a positive number, ``num_dims`` neither 2 nor 3, or ``gate`` unknown.

    Examples:
        >>> block = CrissCross(6)
        >>> x = torch.randn(2, 6, 3, 5, 7)
        >>> torch.equal(block(x), x)  # the identity at initialization
        True
        >>> block.attention(x, torch.tensor([0, 104])).shape
        torch.Size([2, 2, 3, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        num_recurrences: int = 3,
        reduction: int = 8,
        num_dims: Literal[2, 3] = 3,
        gate: Gate = "hops",
    ) -> None:
        super().__init__(num_dims, gate)
        require_positive(channels=channels, reduction=reduction, num_recurrences=num_recurrences)
        self.num_recurrences = num_recurrences
        dim_inner = max(channels // reduction, 1)
        self.hop = LineAttention(channels, dim_inner, range(2, num_dims + 2), num_dims, self._gamma_of_hops)

    def hops(self) -> list[LineAttention]:
        """The one hop, R times."""
        return [self.hop] * self.num_recurrences


@register_block("axial")
class Axial(LineHops):
    """Axial attention: along H, then along W, then along T, each a hop with its own projections and residual.

    Source: the axis-by-axis form of criss-cross attention (arXiv:1811.11721); every position reaches every other.
    Each axis has its own theta, phi, g and gamma, because lines in time and lines in space mean different things.
    A gamma starts at 0, so the block starts as the identity.

    Args:
        channels: Channels C of the features.
        reduction: theta and phi have C / reduction channels, at least 1.
        num_dims: 3 for features (B, C, T, H, W), 2 for (B, C, H, W), without the hop along T.
        gate: As of :class:`CrissCross`.

    Raises:
        ValueError: When a size is not a positive number, ``num_dims`` neither 2 nor 3, or ``gate`` unknown.

    Examples:
        >>> block = Axial(6)
        >>> x = torch.randn(2, 6, 3, 5, 7)
        >>> torch.equal(block(x), x)  # the identity at initialization
        True
    """

    def __init__(self, channels: int, *, reduction: int = 8, num_dims: Literal[2, 3] = 3, gate: Gate = "hops") -> None:
        super().__init__(num_dims, gate)
        require_positive(channels=channels, reduction=reduction)
        axes = (3, 4, 2) if num_dims == 3 else (2, 3)  # H, W, T of (B, C, T, H, W); H, W of (B, C, H, W)
        dim_inner = max(channels // reduction, 1)
        self.steps = nn.ModuleList(
            LineAttention(channels, dim_inner, (axis,), num_dims, self._gamma_of_hops) for axis in axes
        )

    def hops(self) -> list[LineAttention]:
        """One hop for each axis."""
        return [cast(LineAttention, step) for step in self.steps]
