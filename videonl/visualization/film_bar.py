"""The bar beneath a film's picture: what is shown, the frame, and what the colors mean."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from videonl.names import shortened
from videonl.visualization.drawing import color_table, full_value
from videonl.visualization.maps import SpacetimeMap

_FONT_PX = 15
_MARGIN_PX = 8
_LINE_PX = 21
_BAR_PX = 3 * _LINE_PX + 10
_COLOR, _TEXT_COLOR = (24, 24, 24), (240, 240, 240)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def film_bar(width: int, shown: SpacetimeMap, frame_label: str) -> Tensor:
    """Draws the bar.

    Args:
        width: of the picture, in pixels.
        shown: the map that is shown.
        frame_label: which frame is shown.

    Returns:
        (height, width, 3) uint8.
    """
    bar = Image.new("RGB", (width, _BAR_PX), _COLOR)
    draw = ImageDraw.Draw(bar)
    font = ImageFont.load_default(_FONT_PX)
    for line, text in enumerate((shown.title, frame_label)):
        place = (_MARGIN_PX, 6 + line * _LINE_PX)
        draw.text(place, fitting(text, draw, font, width - 2 * _MARGIN_PX), font=font, fill=_TEXT_COLOR)
    _draw_colors(bar, draw, font, f"{full_value(shown):.3g}")
    return torch.frombuffer(bytearray(bar.tobytes()), dtype=torch.uint8).view(_BAR_PX, width, 3)


def frame_label(index: int, seconds: Sequence[float] | None, is_query: bool) -> str:
    """Names a frame of the clip.

    >>> frame_label(3, [0.0, 0.2, 0.4, 0.6], is_query=True)
    'frame 3, 0.60 s (query)'
    """
    time = "" if seconds is None else f", {seconds[index]:.2f} s"
    return f"frame {index}{time}" + (" (query)" if is_query else "")


def _draw_colors(bar: Image.Image, draw: ImageDraw.ImageDraw, font: _Font, largest: str) -> None:
    top = 6 + 2 * _LINE_PX
    left = _MARGIN_PX + round(draw.textlength("0", font=font)) + 6
    right = bar.width - _MARGIN_PX - round(draw.textlength(largest, font=font)) - 6
    draw.text((_MARGIN_PX, top), "0", font=font, fill=_TEXT_COLOR)
    draw.text((right + 6, top), largest, font=font, fill=_TEXT_COLOR)
    steps = color_table()[torch.linspace(0, 255, right - left).round().long()]
    # Over mid-gray, as over a frame of no particular brightness.
    colors = torch.lerp(torch.full((len(steps), 3), 0.45), steps[:, :3], steps[:, 3:])
    row = (colors * 255).round().to(torch.uint8).numpy()
    bar.paste(Image.fromarray(np.repeat(row[None], _FONT_PX - 1, axis=0)), (left, top + 2))


def fitting(text: str, draw: ImageDraw.ImageDraw, font: _Font, width_px: int) -> str:
    """The text, shortened to the width that it may have."""
    # By halves: measuring a text takes time in proportion to its length.
    lengths = range(1, len(text) + 1)
    fitting = bisect_right(lengths, float(width_px), key=lambda most: draw.textlength(shortened(text, most), font=font))
    return shortened(text, max(fitting, 1))
