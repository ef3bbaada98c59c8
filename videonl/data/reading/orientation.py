"""How stored frames are turned and mirrored before they are shown."""

import struct
from typing import Any, NamedTuple

import torch
from av.sidedata.sidedata import SideDataContainer


class Orientation(NamedTuple):
    """One of the eight ways to show a picture: transposed or not, then mirrored along either axis.

    Args:
        transposed: Whether rows become columns.
        flip_x: Whether the shown picture is mirrored left to right, after transposing.
        flip_y: Whether it is mirrored top to bottom, after transposing.
    """

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether it is a reflection, not a rotation alone."""
        return self.transposed ^ self.flip_x ^ self.flip_y

    @property
    def rotation(self) -> int:
        """Degrees to turn counterclockwise: 0, 90, 180 or 270. Then mirror left to right if ``mirrored``.

        >>> Orientation(transposed=True, flip_y=True).rotation, Orientation(flip_y=True).rotation
        (90, 180)
        """
        if self.transposed:
            return 90 if self.flip_y else 270
        return 180 if self.flip_y else 0


_SIDE_DATA: Any = SideDataContainer  # whose stub lacks the constructor
_ROTATIONS = (
    Orientation(),
    Orientation(transposed=True, flip_y=True),
    Orientation(flip_x=True, flip_y=True),
    Orientation(transposed=True, flip_x=True),
)


def orientation_of(frame: Any) -> Orientation:
    """The orientation that the display matrix of a decoded frame asks for, as FFmpeg and players apply it.

    ISO/IEC 14496-12, 6.2.2: the stored pixel (p, q) is shown at (a p + c q, b p + d q). Angles between quarter turns
    are rounded to the nearest.
    """
    try:
        # Not frame.side_data, which the frame would keep: in a circle of references, it would outlive its use.
        matrix = _SIDE_DATA(frame).get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know every kind of side data that its FFmpeg gives
        return _ROTATIONS[round(frame.rotation / 90) % 4]
    if matrix is None:
        return Orientation()
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, flip_x=c < 0, flip_y=b < 0)
    return Orientation(flip_x=a < 0, flip_y=d < 0)


def with_reflection(frames: torch.Tensor, orientation: Orientation) -> torch.Tensor:
    """Finish what a decoder does that turns frames ``(T, H, W, 3)`` by the angle of the display matrix alone.

    That angle is of the matrix's first column: a reflection comes out with one axis the wrong way around.
    """
    if not orientation.mirrored:
        return frames
    return frames.flip(2 if orientation.transposed else 1)


def upright(frames: torch.Tensor, orientation: Orientation, rows: int = 0) -> torch.Tensor:
    """Show stored frames in an orientation.

    Args:
        frames: Of any shape; the dimension ``rows`` holds rows of pixels, the next one columns.
        orientation: How to show them.
        rows: Which dimension.

    Returns:
        The frames, where nothing is to be done; else a copy, of transposed frames a view of one, for transposing
        pixel by pixel takes as long as decoding.
    """
    transposed, flip_x, flip_y = orientation
    flips_rows, flips_columns = (flip_x, flip_y) if transposed else (flip_y, flip_x)
    flipped = [dim for dim, flips in ((rows, flips_rows), (rows + 1, flips_columns)) if flips]
    turned = frames.flip(flipped) if flipped else frames
    return turned.transpose(rows, rows + 1) if transposed else turned
