"""Maps to draw over the frames of a clip: the common interface of attention and class evidence."""

from typing import Protocol

from torch import Tensor

from videonl.visualization.grid import Position


class SpacetimeMap(Protocol):
    """A number for each cell of a clip, for the renderer.

    Attributes:
        title: what is shown, in a few words.
        details: its origin, on one line.
        quantity: what its numbers are, such as ``weight``.
        values: (T', H', W'), float32 on the CPU. Negative numbers are drawn as 0.
        grid: (T, H, W) of the features, in cells; the values' grid may be coarser.
        cell: (t, y, x) in ``grid``, the query's cell; None without a query.
    """

    @property
    def title(self) -> str: ...  # noqa: D102  # documented above

    @property
    def details(self) -> str: ...  # noqa: D102  # documented above

    @property
    def quantity(self) -> str: ...  # noqa: D102  # documented above

    @property
    def values(self) -> Tensor: ...  # noqa: D102  # documented above

    @property
    def grid(self) -> Position: ...  # noqa: D102  # documented above

    @property
    def cell(self) -> Position | None: ...  # noqa: D102  # documented above
