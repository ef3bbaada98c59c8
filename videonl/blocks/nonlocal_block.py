"""The non-local block (Wang et al. 2018, arXiv:1711.07971)."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl import ops
from videonl.blocks.contract import AttentionBlock, register_block, require_features
from videonl.blocks.factors import Activation, Factors, ProductWeights
from videonl.blocks.options import require_known, require_positive
from videonl.blocks.reach import Reach, join_reach, reachable_keys, require_reach, split_reach

INIT_STD = 0.01  # of every projection, as in the authors' code
Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONV: dict[int, type[Conv]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}

Pairwise = Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"]
PoolOrder = Literal["post", "pre"]
Norm = Literal["batch", "none"]

ACTIVATION: dict[str, Activation] = {"dot_product": "mean", "concatenation": "relu_mean"}  # of the rest softmax


@register_block("nonlocal")
class NonLocal(AttentionBlock):
    """Non-local block: ``z = BN(W y) + x``, where ``y_i`` sums ``f(x_i, x_j) g(x_j) / C(x)`` over all positions j.

    Source: equations 1 to 6 of arXiv:1711.07971. The last norm starts with gamma = 0, so the block starts as the
    identity. None of the four forms builds a tensor of queries by keys.

    Args:
        channels: Channels C of the features.
        pairwise: The function f and its normalizer. ``embedded_gaussian``: softmax of theta_i . phi_j. ``gaussian``:
            softmax of x_i . x_j, without theta and phi; once |x_i|^2 reaches tens, a position attends almost only to
            itself. ``dot_product``: theta_i . phi_j, divided by the number of keys. ``concatenation``:
            ReLU(w . [theta_i, phi_j]), divided by the number of keys.
        dim_inner: Channels Ci of theta, phi and g; half of ``channels`` (at least 1) when not given.
        subsample: Max-pool the keys and values by 2 in height and width (over time in 1D), which reduces the keys four
            times; odd sizes floor, and an axis of one position is not pooled. For ``time`` there is nothing to pool.
        pool_order: What is pooled: the projections (``post``, as AlexHex7 and mmcv do), or x before it is projected
            (``pre``, as PySlowFast and Caffe2 do). They give different numbers: take the one that the weights were
            trained with.
        scale: Divide the logits of the embedded Gaussian by sqrt(Ci). Off in the paper, on in PySlowFast.
        reach: Which positions a query reads: all of the clip (``spacetime``), those of its frame (``space``), those at
            its pixel (``time``), or those of its chunk of frames (``groups``).
        group_frames: Frames of a chunk, for ``groups``; the last chunk may be shorter.
        norm: ``batch`` normalizes the result and starts with gamma = 0; ``none`` has W start at 0 instead.
        num_dims: 3 for (B, C, T, H, W), 2 for (B, C, H, W), 1 for (B, C, T); ``reach`` is for 3.

    Raises:
        ValueError: When a size is not a positive number, a choice is unknown, or an option does not go with the others.

    Examples:
        >>> import torch
        >>> block = NonLocal(6)
        >>> x = torch.randn(2, 6, 3, 5, 7)
        >>> torch.equal(block(x), x)  # the identity at initialization
        True
        >>> block.attention(x, torch.tensor([0, 104])).shape
        torch.Size([2, 2, 3, 2, 3])
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: Pairwise = "embedded_gaussian",
        dim_inner: int | None = None,
        subsample: bool = True,
        pool_order: PoolOrder = "post",
        scale: bool = False,
        reach: Reach = "spacetime",
        group_frames: int | None = None,
        norm: Norm = "batch",
        num_dims: Literal[1, 2, 3] = 3,
    ) -> None:
        super().__init__()
        dim_inner = max(channels // 2, 1) if dim_inner is None else dim_inner
        require_positive(channels=channels, dim_inner=dim_inner)
        require_known(get_args(Pairwise), pairwise=pairwise)
        require_known(get_args(PoolOrder), pool_order=pool_order)
        require_known(get_args(Norm), norm=norm)
        require_known(CONV, num_dims=num_dims)
        if scale and pairwise != "embedded_gaussian":
            raise ValueError(f"scale={scale} is for pairwise='embedded_gaussian', got pairwise={pairwise!r}")
        require_reach(reach, group_frames, num_dims)
        subsample = subsample and reach != "time"  # a tube has one pixel
        if pool_order == "pre" and not subsample:
            raise ValueError(f"pool_order={pool_order!r} needs something to pool: subsample=True, and not reach='time'")
        self.pairwise = pairwise
        self.weights_sum_to_one = pairwise in ("embedded_gaussian", "gaussian")
        self.subsample = subsample
        self.pool_order = pool_order
        self._pools_projections = subsample and pool_order == "post"
        self.scale = 1 / math.sqrt(dim_inner) if scale else 1.0
        self.reach = reach
        self.group_frames = group_frames
        self.num_dims = num_dims
        conv = CONV[num_dims]
        if pairwise != "gaussian":
            self.theta = conv(channels, dim_inner, kernel_size=1)
            self.phi = conv(channels, dim_inner, kernel_size=1)
        if pairwise == "concatenation":
            self.concat = nn.Parameter(torch.empty(2 * dim_inner))  # w_theta, then w_phi
        self.g = conv(channels, dim_inner, kernel_size=1)
        self.out = conv(dim_inner, channels, kernel_size=1)
        self.norm = NORM[num_dims](channels) if norm == "batch" else nn.Identity()
        self._initialize()

    def _initialize(self) -> None:
        for conv in self.children():
            if isinstance(conv, Conv):
                nn.init.normal_(conv.weight, std=INIT_STD)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
        if self.pairwise == "concatenation":
            # As public implementations start it, by the default of a convolution to one channel. At 0.01 the affinities
            # vanish beside the epsilon of the norm, and training stands still.
            bound = self.concat.numel() ** -0.5
            nn.init.uniform_(self.concat, -bound, bound)
        # Either start makes the block the identity.
        nn.init.zeros_(self.out.weight if isinstance(self.norm, nn.Identity) else self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Adds the attention output to every position; see :class:`AttentionBlock`."""
        require_features(x, self.num_dims)
        source = self._source(x)
        projections = self._queries(x), self._keys(source), self._pool_projection(self.g(source))
        split = [split_reach(part, self.reach, self.group_frames) for part in projections]
        y = join_reach([self._aggregate(*parts) for parts in zip(*split, strict=True)], x.shape, self.reach)
        # x first: the sum keeps its first term's memory format, and convolutions after the block round as without it.
        z: Tensor = x + self.norm(self.out(y))
        return z

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        """Weights of the query positions; see :class:`AttentionBlock`.

        Softmax weights are a distribution. Those of the dot product and the concatenation do not sum to 1, and those of
        the dot product may be negative. Keys out of reach have weight 0.
        """
        require_features(x, self.num_dims)
        asked = x.flatten(2)[:, :, queries]  # (B, C, T, H, W) -> (B, C, Q)
        theta = self._queries(asked.unflatten(2, (-1, *[1] * (self.num_dims - 1)))).flatten(2)
        phi = self._keys(self._source(x))
        reachable = None
        if self.reach != "spacetime":
            reachable = reachable_keys(queries, x.shape[2:], phi.shape[2:], self.reach, self.group_frames)
        weights = self._weights(theta, phi.flatten(2), reachable)
        return weights.reshape(*weights.shape[:2], *phi.shape[2:])  # (B, Q, M) -> (B, Q, T', H', W')

    def factors(self, x: Tensor) -> Factors:
        """Theta and phi, from which every weight follows; see :class:`AttentionBlock`."""
        require_features(x, self.num_dims)
        queries, keys = self._queries(x), self._keys(self._source(x))
        left, right = self.scale * queries.flatten(2)[0].mT, keys.flatten(2)[0]  # (N, _), (_, M)
        if self.pairwise == "concatenation":  # a_i + b_j is the product of (a_i, 1) and (1, b_j)
            left, right = torch.cat([left, torch.ones_like(left)], 1), torch.cat([torch.ones_like(right), right])
        activation = ACTIVATION.get(self.pairwise, "softmax")
        return ProductWeights(left, right, x.shape[2:], keys.shape[2:], activation, self.reach, self.group_frames)

    def uniform_attention(self, features: tuple[Tensor, ...], queries: Tensor, keys: torch.Size) -> Tensor:
        """Uniform over the keys in reach; see :class:`AttentionBlock`."""
        if self.weights_sum_to_one or self.reach == "spacetime":
            return super().uniform_attention(features, queries, keys)
        x = features[0]
        reachable = reachable_keys(queries, x.shape[2:], keys, self.reach, self.group_frames).to(x.dtype)
        weights = reachable / reachable.sum(dim=1, keepdim=True)
        return weights.reshape(1, -1, *keys).expand(x.shape[0], -1, -1, -1, -1)

    @property
    def kind(self) -> str:
        """The short name and the form, such as ``nonlocal, dot_product``."""
        return f"{super().kind}, {self.pairwise}"

    def _queries(self, x: Tensor) -> Tensor:
        """Queries for f: (B, Ci, *grid), x itself for the Gaussian, one number each for the concatenation."""
        if self.pairwise == "gaussian":
            return x
        if self.pairwise == "concatenation":
            return _folded(self.theta, self.concat.chunk(2)[0], x)
        theta: Tensor = self.theta(x)
        return theta

    def _keys(self, source: Tensor) -> Tensor:
        """Keys for f, on the grid after pooling."""
        if self.pairwise == "concatenation" and not self._pools_projections:
            return _folded(self.phi, self.concat.chunk(2)[1], source)
        keys = self._pool_projection(source if self.pairwise == "gaussian" else self.phi(source))
        return _channel_product(self.concat.chunk(2)[1], keys) if self.pairwise == "concatenation" else keys

    def _source(self, x: Tensor) -> Tensor:
        """The source of keys and values."""
        return self._pool(x) if self.subsample and self.pool_order == "pre" else x

    def _pool_projection(self, x: Tensor) -> Tensor:
        return self._pool(x) if self._pools_projections else x

    def _aggregate(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """The output of attention: (B', _, N), (B', _, M) and (B', Ci, M) -> (B', Ci, N)."""
        values = g.mT
        if self.pairwise == "concatenation":
            return ops.concatenation(theta.squeeze(1), phi.squeeze(1), values).mT
        if self.pairwise == "dot_product":
            return ops.dot_product(theta.mT, phi.mT, values).mT
        return ops.embedded_gaussian(theta.mT, phi.mT, values, scale=self.scale).mT

    def _weights(self, theta: Tensor, phi: Tensor, reachable: Tensor | None) -> Tensor:
        """The attention weights: (B, _, Q) and (B, _, M) -> (B, Q, M)."""
        if self.pairwise == "concatenation":
            return ops.concatenation_weights(theta.squeeze(1), phi.squeeze(1), reachable=reachable)
        if self.pairwise == "dot_product":
            return ops.dot_product_weights(theta.mT, phi.mT, reachable=reachable)
        return ops.embedded_gaussian_weights(theta.mT, phi.mT, scale=self.scale, reachable=reachable)

    def _pool(self, x: Tensor) -> Tensor:
        windows = [min(2, size) for size in x.shape[2:][-2:]]  # of (H, W), or of (T,)
        return MAX_POOL[self.num_dims](x, kernel_size=[1, *windows] if self.num_dims == 3 else windows)


def _folded(conv: Conv, vector: Tensor, x: Tensor) -> Tensor:
    """The product of a vector with the channels of ``conv(x)``: (B, C, *grid) -> (B, 1, *grid)."""
    assert conv.bias is not None
    # Two linear maps make one: a vector of C numbers instead of C x Ci, and no Ci channels in between.
    return _channel_product(vector @ conv.weight.flatten(1), x) + vector @ conv.bias


def _channel_product(vector: Tensor, x: Tensor) -> Tensor:
    return torch.matmul(vector, x.flatten(2)).reshape(x.shape[0], 1, *x.shape[2:])  # (B, C, *grid) -> (B, 1, *grid)
