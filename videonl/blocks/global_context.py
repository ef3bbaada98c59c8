"""Global context blocks: SNL, GC and SE as settings of one framework (Cao et al. 2019, arXiv:1904.11492)."""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from videonl import ops
from videonl.blocks.contract import AttentionBlock, register_block, require_features
from videonl.blocks.factors import Factors, ProductWeights
from videonl.blocks.options import require_known, require_positive

Pooling = Literal["attention", "average"]
Transform = Literal["bottleneck", "linear"]
Norm = Literal["layer", "none"]
Fusion = Literal["add", "multiply", "multiply_from_one"]


@register_block("global_context")
class GlobalContext(AttentionBlock):
    """One vector for the whole clip: pooled, transformed, and fused with every position in the same way.

    Source: the framework of figure 4 of arXiv:1904.11492. The context is the same for all positions, so the cost grows
    with N, not with its square. The last projection starts at 0: the block starts as the identity, except for
    ``multiply``, which starts as exactly ``0.5 x``.

    Args:
        channels: Channels C of the features.
        pooling: ``attention``: softmax over all positions of one learned logit each; or ``average``.
        transform: ``bottleneck``: C -> C / ratio -> norm -> ReLU -> C; or ``linear``: C -> C.
        ratio: How many times narrower the bottleneck is; it has at least one channel. 16 in detection, 4 in GCNet's
            Kinetics table.
        norm: ``layer`` or ``none``, inside the bottleneck.
        fusion: ``add``: x + t; ``multiply``: x * sigmoid(t), as published; ``multiply_from_one``: x * 2 sigmoid(t).

    Raises:
        ValueError: When a size is not a positive number or a choice is not one of those above.

    Examples:
        >>> import torch
        >>> block = GlobalContext(6)
        >>> x = torch.randn(2, 6, 3, 5, 7)
        >>> torch.equal(block(x), x)  # the identity at initialization
        True
        >>> block.attention(x, torch.tensor([0, 104])).shape
        torch.Size([2, 2, 3, 5, 7])
    """

    depends_on_query: ClassVar[bool] = False

    def __init__(
        self,
        channels: int,
        *,
        pooling: Pooling = "attention",
        transform: Transform = "bottleneck",
        ratio: int = 16,
        norm: Norm = "layer",
        fusion: Fusion = "add",
    ) -> None:
        super().__init__()
        require_positive(channels=channels, ratio=ratio)
        require_known(get_args(Pooling), pooling=pooling)
        require_known(get_args(Transform), transform=transform)
        require_known(get_args(Norm), norm=norm)
        require_known(get_args(Fusion), fusion=fusion)
        self.fusion = fusion
        self.identity_at_init = fusion != "multiply"
        self.weighs_positions = pooling == "attention"
        self.mask = nn.Conv3d(channels, 1, kernel_size=1) if pooling == "attention" else None
        dim_inner = channels
        self.reduce: nn.Module = nn.Identity()
        if transform == "bottleneck":
            dim_inner = max(channels // ratio, 1)
            self.reduce = _bottleneck(channels, dim_inner, norm)
        self.out = nn.Conv3d(dim_inner, channels, kernel_size=1)
        self._initialize()

    def _initialize(self) -> None:
        if self.mask is not None:
            nn.init.kaiming_normal_(self.mask.weight, mode="fan_in", nonlinearity="relu")
            assert self.mask.bias is not None
            nn.init.zeros_(self.mask.bias)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Fuses the transformed context with every position; see :class:`AttentionBlock`."""
        require_features(x)
        context = x.flatten(2).mean(dim=2) if self.mask is None else ops.attention_pooling(x, self._affinity(x))
        change = self.out(self.reduce(context[..., None, None, None]))  # (B, C, 1, 1, 1)
        return ops.fuse(x, change.flatten(1), self.fusion)

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        """The pooling map, which is the same for every query; see :class:`AttentionBlock`."""
        require_features(x)
        logits = torch.zeros_like(x[:, 0]) if self.mask is None else self._affinity(x)
        weights = ops.attention_pooling_weights(logits)
        return weights.unsqueeze(1).expand(-1, len(queries), -1, -1, -1)  # (B, T, H, W) -> (B, Q, T, H, W)

    def factors(self, x: Tensor) -> Factors:
        """The pooling map, once; see :class:`AttentionBlock`."""
        grid = x.shape[2:]
        weights = self.attention(x, torch.zeros(1, dtype=torch.int64, device=x.device))
        return ProductWeights(weights.new_ones(grid.numel(), 1), weights.reshape(1, -1), grid, grid)

    def _affinity(self, x: Tensor) -> Tensor:
        assert self.mask is not None and self.mask.bias is not None
        # A product takes 2 ms at (512, 8, 28, 28), forward and backward on 2 cores, a convolution to one channel 10.
        affinity = torch.matmul(self.mask.weight.flatten(1), x.flatten(2)) + self.mask.bias
        return affinity.reshape(x.shape[0], *x.shape[2:])  # (B, 1, N) -> (B, T, H, W)


def _bottleneck(channels: int, dim_inner: int, norm: Norm) -> nn.Sequential:
    between = nn.LayerNorm([dim_inner, 1, 1, 1]) if norm == "layer" else nn.Identity()
    return nn.Sequential(nn.Conv3d(channels, dim_inner, kernel_size=1), between, nn.ReLU())


@register_block("snl")
class SNL(GlobalContext):
    """Simplified non-local block: attention pooling, one C x C projection, added (section 3.2 of arXiv:1904.11492).

    Args:
        channels: Channels C of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, transform="linear")


@register_block("gc")
class GC(GlobalContext):
    """Global context block: attention pooling, bottleneck with LayerNorm, added (section 3.4 of arXiv:1904.11492).

    Args:
        channels: Channels C of the features.
        ratio: How many times narrower the bottleneck is: 16 in detection, 4 in GCNet's Kinetics table.
    """

    def __init__(self, channels: int, *, ratio: int = 16) -> None:
        super().__init__(channels, ratio=ratio)


@register_block("se")
class SE(GlobalContext):
    """Squeeze and excitation: average pooling, bottleneck without norm, sigmoid gate.

    Source: Hu et al. 2018, equations 2 to 4, arXiv:1709.01507. It starts as ``0.5 x``, not as the identity.

    Args:
        channels: Channels C of the features.
        ratio: How many times narrower the bottleneck is.
    """

    def __init__(self, channels: int, *, ratio: int = 16) -> None:
        super().__init__(channels, pooling="average", ratio=ratio, norm="none", fusion="multiply")
