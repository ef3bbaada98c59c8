"""Lays a clip out as one figure: rows of plain frames, their overlays beneath, a colour bar at the side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from videonl.visualization.attention import AttentionMap
from videonl.visualization.drawing import colour_table, enlarged, full_weight, marked, overlay, query_frame
from videonl.visualization.film_bar import frame_label

_DPI = 100
_PANEL_MIN_PX = 128
_MAX_COLUMNS = 8
_GAP_PX = 6
_LABEL_PX = 28
_TITLE_PX = 64
_MARGIN_PX = 14
_BAR_WIDTH_PX = 14
_BAR_AREA_PX = 110  # the colour bar with its numbers and its name
_TITLE_CHARACTER_PX = 10


@dataclass(frozen=True)
class _Layout:
    """Places in pixels, counted from the figure's lower left corner as matplotlib counts them."""

    num_frames: int
    height: int
    width: int
    min_width: int

    @property
    def num_columns(self) -> int:
        return min(self.num_frames, _MAX_COLUMNS)

    @property
    def row_height(self) -> int:
        return 2 * self.height + _GAP_PX + _LABEL_PX

    @property
    def size(self) -> tuple[int, int]:
        panels = self.num_columns * (self.width + _GAP_PX) - _GAP_PX
        rows = math.ceil(self.num_frames / _MAX_COLUMNS) * self.row_height
        return max(panels + _BAR_AREA_PX + 2 * _MARGIN_PX, self.min_width), rows + _TITLE_PX + _MARGIN_PX

    def below_left(self, index: int) -> tuple[int, int]:
        """The lower left corner of a frame's overlay."""
        row, column = divmod(index, _MAX_COLUMNS)
        top = self.size[1] - _TITLE_PX - row * self.row_height
        return _MARGIN_PX + column * (self.width + _GAP_PX), top - 2 * self.height - _GAP_PX


def strip_figure(frames: Tensor, attention: AttentionMap, seconds: Sequence[float] | None = None) -> Figure:
    """Draws the strip; each pixel of a frame becomes a whole number of pixels of the figure, without resampling.

    Args:
        frames: (T, H, W, 3) uint8, the clip's frames before normalisation.
        attention: the map to show.
        seconds: the frames' times in the video, to write beneath them.

    Returns:
        A figure of its own: no pyplot, no state shared with other figures.
    """
    plain, lit = (enlarged(pictures, _PANEL_MIN_PX) for pictures in (frames.cpu(), overlay(frames, attention)))
    title_width = _TITLE_CHARACTER_PX * len(attention.block) + 2 * _MARGIN_PX
    layout = _Layout(len(frames), plain.shape[1], plain.shape[2], min_width=max(title_width, 360))
    width, height = layout.size
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    queried = query_frame(attention, frames)
    for index in range(len(frames)):
        _add_frame(figure, layout, index, plain[index], lit[index], attention if index == queried else None)
        _add_label(figure, layout, index, frame_label(index, seconds, index == queried), bold=index == queried)
    _add_title(figure, attention)
    _add_colour_bar(figure, layout, attention)
    return figure


def _add_frame(
    figure: Figure, layout: _Layout, index: int, plain: Tensor, lit: Tensor, query: AttentionMap | None
) -> None:
    left, bottom = layout.below_left(index)
    if query is not None:
        plain, lit = marked(plain, query), marked(lit, query)
    figure.figimage(lit.numpy(), left, bottom, origin="upper")
    figure.figimage(plain.numpy(), left, bottom + layout.height + _GAP_PX, origin="upper")


def _add_label(figure: Figure, layout: _Layout, index: int, label: str, bold: bool) -> None:
    left, bottom = layout.below_left(index)
    size = 9 if len(label) * 8 < layout.width else 7
    _add_text(figure, left + layout.width / 2, bottom - 5, label, size=size, ha="center", bold=bold)


def _add_title(figure: Figure, attention: AttentionMap) -> None:
    top = figure.bbox.height
    frame, y, x = attention.query
    t_cells, y_cells, x_cells = attention.grid
    _add_text(figure, _MARGIN_PX, top - 10, attention.block, size=12, bold=True)
    asked = f"query: frame {frame}, y {y}, x {x}    grid: {t_cells} x {y_cells} x {x_cells}"
    _add_text(figure, _MARGIN_PX, top - 35, asked, size=9)


def _add_text(
    figure: Figure, x_px: float, y_px: float, text: str, size: int, ha: str = "left", bold: bool = False
) -> None:
    weight = "bold" if bold else "normal"
    # parse_math: a name may hold dollar signs. transform=None: the place is in pixels.
    figure.text(x_px, y_px, text, transform=None, size=size, ha=ha, va="top", weight=weight, parse_math=False)


def _add_colour_bar(figure: Figure, layout: _Layout, attention: AttentionMap) -> None:
    width, height = layout.size
    left, bottom = layout.below_left(0)
    left += layout.num_columns * (layout.width + _GAP_PX) + _GAP_PX
    bar_height = 2 * layout.height + _GAP_PX
    axes = figure.add_axes((left / width, bottom / height, _BAR_WIDTH_PX / width, bar_height / height))
    colours = ScalarMappable(Normalize(0, full_weight(attention)), ListedColormap(colour_table().numpy()))
    negative = bool(attention.weights.min() < 0)
    bar = figure.colorbar(colours, cax=axes, label="weight (below 0 shown as 0)" if negative else "weight")
    bar.ax.tick_params(labelsize=8)
