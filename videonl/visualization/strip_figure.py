"""Lays a clip out as one figure: rows of plain frames, their overlays beneath, a color bar at the side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from videonl.visualization.drawing import color_table, enlarged, full_value, marked, overlay, query_frame
from videonl.visualization.film_bar import frame_label
from videonl.visualization.maps import SpacetimeMap

_DPI = 100
_PANEL_MIN_PX = 128
_MAX_COLUMNS = 8
_GAP_PX = 6
_LABEL_PX = 28
_TITLE_PX = 64
_MARGIN_PX = 14
_BAR_WIDTH_PX = 14
_BAR_AREA_PX = 110  # the color bar with its numbers and its name
_TITLE_CHARACTER_PX = 10


@dataclass(frozen=True)
class _Layout:
    """Places in pixels, counted from the figure's lower left corner as matplotlib counts them."""

    num_frames: int
    num_maps: int
    height: int
    width: int
    min_width: int

    @property
    def num_columns(self) -> int:
        return min(self.num_frames, _MAX_COLUMNS)

    @property
    def row_height(self) -> int:
        return (1 + self.num_maps) * (self.height + _GAP_PX) - _GAP_PX + _LABEL_PX

    @property
    def titles_height(self) -> int:
        return self.num_maps * _TITLE_PX

    @property
    def size(self) -> tuple[int, int]:
        panels = self.num_columns * (self.width + _GAP_PX) - _GAP_PX
        rows = math.ceil(self.num_frames / _MAX_COLUMNS) * self.row_height
        return max(panels + _BAR_AREA_PX + 2 * _MARGIN_PX, self.min_width), rows + self.titles_height + _MARGIN_PX

    def below_left(self, index: int, panel: int) -> tuple[int, int]:
        """The lower left corner of one picture of a frame: the plain one is panel 0, the overlays follow beneath."""
        row, column = divmod(index, _MAX_COLUMNS)
        top = self.size[1] - self.titles_height - row * self.row_height
        left = _MARGIN_PX + column * (self.width + _GAP_PX)
        return left, top - (1 + panel) * (self.height + _GAP_PX) + _GAP_PX


def strip_figure(frames: Tensor, maps: Sequence[SpacetimeMap], seconds: Sequence[float] | None = None) -> Figure:
    """Draws the strip; each pixel of a frame becomes a whole number of pixels of the figure, without resampling.

    Args:
        frames: (T, H, W, 3) uint8, the clip's frames before normalization.
        maps: what to show, one beneath the other. The first one's query is marked.
        seconds: the frames' times in the video, to write beneath them.

    Returns:
        A figure of its own: no pyplot, no state shared with other figures.
    """
    panels = [enlarged(pictures, _PANEL_MIN_PX) for pictures in (frames.cpu(), *(overlay(frames, m) for m in maps))]
    title_width = max(_TITLE_CHARACTER_PX * len(shown.title) for shown in maps) + 2 * _MARGIN_PX
    layout = _Layout(len(frames), len(maps), panels[0].shape[1], panels[0].shape[2], min_width=max(title_width, 440))
    width, height = layout.size
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    queried = query_frame(maps[0], frames)
    for index in range(len(frames)):
        for place, panel in enumerate(panels):
            picture = marked(panel[index], maps[0]) if index == queried else panel[index]
            figure.figimage(picture.numpy(), *layout.below_left(index, place), origin="upper")
        _add_label(figure, layout, index, frame_label(index, seconds, index == queried), bold=index == queried)
    for place, shown in enumerate(maps):
        _add_title(figure, shown, top=height - place * _TITLE_PX)
        _add_color_bar(figure, layout, place, shown)
    return figure


def _add_label(figure: Figure, layout: _Layout, index: int, label: str, bold: bool) -> None:
    left, bottom = layout.below_left(index, layout.num_maps)
    size = 9 if len(label) * 8 < layout.width else 7
    _add_text(figure, left + layout.width / 2, bottom - 5, label, size=size, ha="center", bold=bold)


def _add_title(figure: Figure, shown: SpacetimeMap, top: float) -> None:
    _add_text(figure, _MARGIN_PX, top - 10, shown.title, size=12, bold=True)
    _add_text(figure, _MARGIN_PX, top - 35, shown.details, size=9)


def _add_text(
    figure: Figure, x_px: float, y_px: float, text: str, size: int, ha: str = "left", bold: bool = False
) -> None:
    weight = "bold" if bold else "normal"
    # parse_math: a name may hold dollar signs. transform=None: the place is in pixels.
    figure.text(x_px, y_px, text, transform=None, size=size, ha=ha, va="top", weight=weight, parse_math=False)


def _add_color_bar(figure: Figure, layout: _Layout, place: int, shown: SpacetimeMap) -> None:
    width, height = layout.size
    left, bottom = layout.below_left(0, 1 + place)
    left += layout.num_columns * (layout.width + _GAP_PX) + _GAP_PX
    bar_height = layout.height if place else 2 * layout.height + _GAP_PX  # the first beside the plain frames too
    axes = figure.add_axes((left / width, bottom / height, _BAR_WIDTH_PX / width, bar_height / height))
    colors = ScalarMappable(Normalize(0, full_value(shown)), ListedColormap(color_table().numpy()))
    negative = bool(shown.values.min() < 0)
    line, size = (" ", 10) if bar_height > 200 else ("\n", 8)
    bar = figure.colorbar(colors, cax=axes)
    bar.set_label(f"{shown.quantity}{line}(below 0 shown as 0)" if negative else shown.quantity, size=size)
    bar.ax.tick_params(labelsize=8)
