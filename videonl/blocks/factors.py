"""The weights of all queries at once, in a form much smaller than queries times keys.

``AttentionBlock.attention`` gives a few rows of weights. Code that needs any row at any time, such as a page
that shows the attention at the pointer, keeps these factors instead and computes a row on demand.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from videonl import ops
from videonl.blocks.reach import Reach, reachable_keys
from videonl.ops.pairwise import mean_over_reachable

Activation = Literal["none", "softmax", "mean", "relu_mean"]


@dataclass(frozen=True)
class ProductWeights:
    """Weights that are a function of a product of two matrices: row i is ``activation(left[i] @ right)``.

    Attributes:
        left: (N, r), a row for each query.
        right: (r, M), a column for each key.
        grid: Of the queries; its product is N.
        keys: Of the keys; its product is M.
        activation: ``none``; ``softmax`` over the keys in reach; ``mean``: divided by their number; ``relu_mean``: that
            of the positive part.
        reach: The keys in reach of a query; others have weight 0.
        group_frames: Frames of a chunk, for the reach ``groups``.
    """

    left: Tensor
    right: Tensor
    grid: torch.Size
    keys: torch.Size
    activation: Activation = "none"
    reach: Reach = "spacetime"
    group_frames: int | None = None

    def rows(self, queries: Tensor) -> Tensor:
        """Weights of the asked positions: flat indices (Q,) -> (Q, *keys)."""
        product, reachable = (self.left[queries] @ self.right)[None], self._reachable(queries)
        if self.activation == "softmax":
            affinity = product if reachable is None else product.masked_fill(~reachable, -torch.inf)
            product = affinity.softmax(dim=-1)
        elif self.activation != "none":
            affinity = product.relu() if self.activation == "relu_mean" else product
            product = mean_over_reachable(affinity, reachable)
        return product[0].reshape(-1, *self.keys)

    def affinities(self, queries: Tensor) -> Tensor:
        """Input of the activation, 0 out of reach: flat indices (Q,) -> (Q, M)."""
        product, reachable = self.left[queries] @ self.right, self._reachable(queries)
        return product if reachable is None else product.masked_fill(~reachable, 0)

    def _reachable(self, queries: Tensor) -> Tensor | None:
        if self.reach == "spacetime":
            return None
        return reachable_keys(queries, self.grid, self.keys, self.reach, self.group_frames)


@dataclass(frozen=True)
class HopWeights:
    """Weights that are a product of hops along axis lines.

    Attributes:
        hops: For each hop, in order, (N, S): the weights of every position on its lines.
        axes: For each hop the axes of its lines, as :func:`videonl.ops.criss_cross` numbers them: T, H, W are 2, 3, 4.
        grid: Of queries and keys; its product is N.
    """

    hops: tuple[Tensor, ...]
    axes: tuple[tuple[int, ...], ...]
    grid: torch.Size

    @property
    def keys(self) -> torch.Size:
        """The key grid, which is that of the queries."""
        return self.grid

    def rows(self, queries: Tensor) -> Tensor:
        """Weights of the asked positions: flat indices (Q,) -> (Q, *grid)."""
        rows: Tensor = F.one_hot(queries, self.grid.numel()).to(self.hops[0].dtype)[None].unflatten(2, self.grid)
        for hop, axes in zip(reversed(self.hops), reversed(self.axes), strict=True):
            rows = ops.criss_cross_hop(rows, hop[None].unflatten(1, self.grid), axes)
        return rows[0]


Factors = ProductWeights | HopWeights
