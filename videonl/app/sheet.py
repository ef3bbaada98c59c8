"""The frames of a clip side by side, as one picture that can be clicked."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from videonl.terminal import printable
from videonl.visualization import ShownClip
from videonl.visualization.drawing import enlarged, marked, overlay, query_frame
from videonl.visualization.grid import Position
from videonl.visualization.maps import SpacetimeMap

_COLUMNS = 8
_GAP_PX = 4
_MIN_PX = 96  # of a frame


class Sheet(NamedTuple):
    """Layout of the frames of a clip in one picture, row by row.

    Attributes:
        size: Size of the clip, (T, H, W).
    """

    size: Position

    @property
    def columns(self) -> int:
        """Frames in a row."""
        return min(_COLUMNS, self.size[0])

    @property
    def scale(self) -> int:
        """Pixels of the picture per pixel of a frame."""
        return -(-_MIN_PX // min(self.size[1:]))

    def position(self, x: int, y: int) -> Position | None:
        """Maps a pixel of the picture to (t, y, x) of the clip; None between frames.

        >>> Sheet((9, 100, 100)).position(x=104 + 30, y=104 + 20), Sheet((9, 100, 100)).position(x=102, y=0)
        (None, None)
        >>> Sheet((11, 100, 100)).position(x=104 + 30, y=104 + 20)
        (9, 20, 30)
        """
        _, height, width = self.size
        row, top = divmod(y, height * self.scale + _GAP_PX)
        column, left = divmod(x, width * self.scale + _GAP_PX)
        frame = row * self.columns + column
        inside = top < height * self.scale and left < width * self.scale and column < self.columns
        if not inside or not 0 <= frame < self.size[0]:
            return None
        return frame, top // self.scale, left // self.scale

    def picture(self, tiles: Sequence[Tensor]) -> Image.Image:
        """Joins enlarged frames into one picture."""
        height, width = (side * self.scale + _GAP_PX for side in self.size[1:])
        rows = -(-len(tiles) // self.columns)
        canvas = torch.full((rows * height - _GAP_PX, self.columns * width - _GAP_PX, 3), 255, dtype=torch.uint8)
        for number, tile in enumerate(tiles):
            top, left = height * (number // self.columns), width * (number % self.columns)
            canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        return Image.fromarray(canvas.numpy())


def plain(clip: ShownClip) -> Image.Image:
    """The frames of a clip as they are."""
    return Sheet(clip.size).picture(list(enlarged(clip.frames, _MIN_PX)))


def lit(clip: ShownClip, shown: SpacetimeMap) -> Image.Image:
    """The frames with a map drawn over them, and a square around the query position if there is one."""
    asking = query_frame(shown, clip.frames)
    tiles = list(enlarged(overlay(clip.frames, shown), _MIN_PX))
    if asking is not None:
        tiles = [marked(tile, shown, faint=number != asking) for number, tile in enumerate(tiles)]
    return Sheet(clip.size).picture(tiles)


def as_html(pictures: Sequence[tuple[Image.Image, str]]) -> str:
    """Pictures below one another, each under its title."""
    return "".join(
        f'<figure style="margin:0 0 1em"><figcaption>{escape(printable(title))}</figcaption>'
        f'<img style="width:100%" src="data:image/png;base64,{_png(picture)}"></figure>'
        for picture, title in pictures
    )


def _png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
