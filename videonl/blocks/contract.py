"""The contract of every attention block."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from videonl.blocks.factors import Factors
from videonl.registry import Registry

PRODUCTS = {"theta", "phi"}  # members whose product is an affinity


class Gain(NamedTuple):
    """The size of the last scale before a block's change is added.

    Attributes:
        value: The root of the mean square of the scale's entries; 0 at initialization.
        of: Which scale: the ``norm`` after the projection, a ``gamma``, or ``W``, the projection itself.
    """

    value: float
    of: str


class AttentionBlock(nn.Module, ABC):
    """A block that maps features to features of the same shape and can show its attention.

    A block is built as ``Block(channels, *, ...)`` from plain data; wrong values raise ``ValueError`` at construction.
    It is the identity at initialization, so inserting it does not change a pretrained network, unless
    ``identity_at_init`` is False. No method may build a large N x N tensor.

    A block only has to implement ``forward``. A block with attention also implements ``factors`` or ``attention``;
    the second follows from the first. The rest has defaults.

    Attributes:
        weights_sum_to_one: Whether ``attention`` returns a distribution over the keys. Two forms of the
            non-local block have other weights; those of the dot product may be negative.
        identity_at_init: Whether the block is initialized as the identity. A few published wrappers are not.
        takes_low: Whether ``forward`` and ``attention`` take the features of an earlier stage as their last argument.
        depends_on_query: Whether attention differs between queries. It does not for global context blocks.
        weighs_positions: Whether keys may have different weights. Average pooling weighs all equally, so there is
            nothing to show. False for a class that has neither ``factors`` nor ``attention``.
    """

    weights_sum_to_one: bool = True
    identity_at_init: bool = True
    takes_low: ClassVar[bool] = False
    depends_on_query: ClassVar[bool] = True
    weighs_positions: bool = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "weighs_positions" not in vars(cls):
            inherited = AttentionBlock.attention, AttentionBlock.factors
            cls.weighs_positions = (cls.attention, cls.factors) != inherited

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Applies the block.

        Args:
            x: Features, (B, C, T, H, W) with any T, H, W >= 1.

        Returns:
            Features of the same shape.
        """

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        """Attention weights of some query positions: by default rows of ``factors``, otherwise uniform.

        Args:
            x: Features, (B, C, T, H, W).
            queries: Flat indices ``t * H * W + y * W + x`` of the asked positions, (Q,) int64.

        Returns:
            Weights over the key grid, (B, Q, T', H', W'), where the key grid may be coarser than (T, H, W).
        """
        factors_of_clips = [self.factors(clip[None]) for clip in x]
        rows = [factors.rows(queries) for factors in factors_of_clips if factors is not None]
        return torch.stack(rows) if rows else uniform_weights(x, queries, x.shape[2:])

    def factors(self, x: Tensor) -> Factors | None:
        """Attention weights of all positions, in a form that gives any row without the others.

        Args:
            x: Features of one clip, (1, C, T, H, W); a block that takes ``low`` takes it here too.

        Returns:
            The factors, whose ``rows`` equal ``attention``; None, the default, for a block that has no such form.
        """
        return None

    def uniform_attention(self, features: tuple[Tensor, ...], queries: Tensor, keys: torch.Size) -> Tensor:
        """The weights of some query positions if every key matched equally: the reference for all shares.

        By default uniform over the key grid; for weights that sum to one, the block's weights for constant features:
        uniform over the keys in reach, over hops one after another, or over bins.

        Args:
            features: The block's inputs: x (B, C, T, H, W), and those of an earlier stage for blocks that take them.
            queries: Flat indices of the asked positions, (Q,).
            keys: The key grid (T', H', W').

        Returns:
            (B, Q, T', H', W').
        """
        x, *low = (torch.zeros_like(part) for part in features)
        if self.weights_sum_to_one:
            # Projections are of one position each: where all features are equal so are all affinities.
            return self.attention(x, queries, *low)
        return uniform_weights(x, queries, keys)

    def affinity_parameters(self) -> list[nn.Parameter]:
        """The parameters whose products are the affinities of a softmax; none where there is no such softmax.

        They can have a learning rate of their own: while the gain is near zero their gradients are tiny, Adam's steps
        are not, and products of two weights that both grow without a reason soon saturate the softmax.

        By default those below a member named ``theta`` or ``phi``, if the weights sum to one.
        """
        if not self.weights_sum_to_one:
            return []
        return [parameter for name, parameter in self.named_parameters() if PRODUCTS & set(name.split("."))]

    def gain(self) -> Gain | None:
        """The last scale before the block's change is added; it starts at zero.

        By default the parameter ``gamma``, the norm ``norm``, or the projection ``out``, in this order; the last one
        has other units. None for a block that has none of them.
        """
        gamma = getattr(self, "gamma", None)
        weight = getattr(getattr(self, "norm", None), "weight", None)
        out = getattr(self, "out", None)
        if isinstance(gamma, Tensor):
            return Gain(root_mean_square([gamma]), "gamma")
        if isinstance(weight, Tensor):
            return Gain(root_mean_square([weight]), "norm")
        return Gain(root_mean_square(list(out.parameters())), "W") if isinstance(out, nn.Module) else None

    @property
    def kind(self) -> str:
        """The name of the block in tables: its short name in configurations, or the name of its class."""
        return next((name for name, block in BLOCKS.items() if type(self) is block), type(self).__name__)


BLOCKS: Registry[type[AttentionBlock]] = Registry("block")
"""Blocks by the short name that configurations use."""
register_block = BLOCKS.register


def uniform_weights(x: Tensor, queries: Tensor, keys: torch.Size) -> Tensor:
    """The same weight for every key, which sum to 1 for each query: (B, C, T, H, W) -> (B, Q, T', H', W')."""
    return x.new_full((x.shape[0], len(queries), *keys), 1 / keys.numel())


def root_mean_square(parameters: list[nn.Parameter] | list[Tensor]) -> float:
    """The root mean square of all entries."""
    return float(torch.cat([parameter.detach().float().flatten() for parameter in parameters]).square().mean().sqrt())


def require_features(x: Tensor, num_dims: int = 3) -> None:
    """Rejects features of another rank, an empty batch, or an empty grid.

    Raises:
        ValueError: When ``x`` is not (B, C, *grid) with a grid of ``num_dims`` axes and no axis of length 0.
    """
    if x.ndim != num_dims + 2 or 0 in x.shape:
        axes = ", ".join(["B, C", *"THW"[3 - num_dims :]])
        raise ValueError(f"features must be ({axes}), every size at least 1, got shape {tuple(x.shape)}")
