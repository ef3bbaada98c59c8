"""What every attention block promises, whatever its mathematics."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class AttentionBlock(nn.Module, ABC):
    """A block that maps features to features of the same shape and can show what it reads.

    A block is built as ``Block(channels, *, ...)`` from plain data; wrong values raise ``ValueError`` at construction.
    It is the identity at initialisation, so inserting it changes nothing about a pretrained network, and neither method
    may build an N x N tensor.
    """

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
