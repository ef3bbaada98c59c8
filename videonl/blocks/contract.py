"""What every attention block promises, whatever its mathematics."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from videonl.blocks.factors import Factors


class AttentionBlock(nn.Module, ABC):
    """A block that maps features to features of the same shape and can show what it reads.

    A block is built as ``Block(channels, *, ...)`` from plain data; wrong values raise ``ValueError`` at construction.
    It is the identity at initialisation, so inserting it changes nothing about a pretrained network, unless
    ``identity_at_init`` says otherwise; and neither method may build an N x N tensor.

    Attributes:
        weights_sum_to_one: Whether what ``attention`` returns is a distribution over the keys. Two forms of the
            non-local block have other weights, of the dot product even negative ones.
        identity_at_init: Whether the block starts as the identity. A few published wrappers do not, and say so here.
        takes_low: Whether ``forward`` and ``attention`` take the features of an earlier stage as their last argument.
        depends_on_query: Whether queries read differently. Global context blocks read the same for every position.
        weighs_positions: Whether positions may be read differently from one another. Average pooling reads all alike,
            so there is nothing to show.
    """

    weights_sum_to_one: bool = True
    identity_at_init: bool = True
    takes_low: ClassVar[bool] = False
    depends_on_query: ClassVar[bool] = True
    weighs_positions: bool = True

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Relates positions of the features to one another.

        Args:
            x: Features, (B, C, T, H, W) with any T, H, W >= 1.

        Returns:
            Features of the same shape.
        """

    @abstractmethod
    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        """Weights with which some positions read all others.

        Args:
            x: Features, (B, C, T, H, W).
            queries: Flat indices ``t * H * W + y * W + x`` of the asked positions, (Q,) int64.

        Returns:
            Weights over the key grid, (B, Q, T', H', W'), where the key grid may be coarser than (T, H, W).
        """

    def factors(self, x: Tensor) -> Factors | None:
        """Weights of all positions, in a form from which any row can be computed without the others.

        Args:
            x: Features of one clip, (1, C, T, H, W); a block that takes ``low`` takes it here too.

        Returns:
            The factors, whose ``rows`` equal ``attention``; None for a block that has no such form.
        """
        return None


def require_features(x: Tensor, num_dims: int = 3) -> None:
    """Refuses what no block can relate: features of another rank, an empty batch, an empty grid.

    Raises:
        ValueError: When ``x`` is not (B, C, *grid) with a grid of ``num_dims`` axes and no axis of length 0.
    """
    if x.ndim != num_dims + 2 or 0 in x.shape:
        axes = ", ".join(["B, C", *"THW"[3 - num_dims :]])
        raise ValueError(f"features must be ({axes}), every size at least 1, got shape {tuple(x.shape)}")
