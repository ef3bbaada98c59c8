"""Query positions, parsed from the command line."""

import math
from collections.abc import Sequence
from itertools import product

from videonl.errors import UserError
from videonl.visualization.grid import Position, center_of

AUTO = "auto"
MAX_QUERIES = 1000  # each becomes a picture; the arrays of a whole grid come from Python


def parse_queries(texts: Sequence[str], size: Position) -> dict[str, Position | None]:
    """Reads queries from the command line.

    >>> parse_queries(["4,36,20", "auto", "grid:1x1x2"], size=(8, 64, 64))
    {'t4_y36_x20': (4, 36, 20), 'auto': None, 't4_y32_x16': (4, 32, 16), 't4_y32_x48': (4, 32, 48)}

    Args:
        texts: Each ``frame,y,x``, ``auto``, or ``grid:TxHxW`` for the centers of that many equal parts of the clip.
        size: (T, H, W) of the clip, in frames and pixels.

    Returns:
        Positions in the clip by a short name, without repetition; None for ``auto``.

    Raises:
        UserError: When a text is none of these, or asks for what the clip does not have.
    """
    queries: dict[str, Position | None] = {}
    for text in (text.strip() for text in texts):
        if text == AUTO:
            queries[AUTO] = None
        elif text.startswith("grid:"):
            queries |= {_name(center): center for center in _grid(text, size)}
        else:
            query = parse_query(text)
            require_inside(query, size)
            queries[_name(query)] = query
    return queries


def parse_query(text: str) -> Position:
    """Reads one position from the command line.

    >>> parse_query("4,36,20")
    (4, 36, 20)

    Raises:
        UserError: the text is not three whole numbers.
    """
    try:
        frame, y, x = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(
            f"query {text!r} is not three whole numbers frame,y,x; for example, 4,36,20 is frame 4, row 36, "
            "column 20, or auto, or grid:2x4x4"
        ) from error
    return frame, y, x


def require_inside(query: Position, size: Position) -> None:
    """Rejects a position outside the clip.

    Raises:
        UserError: Naming the position and the positions that exist.
    """
    if not all(0 <= q < s for q, s in zip(query, size, strict=True)):
        frames, height, width = size
        raise UserError(
            f"query {query} lies outside the clip, whose size (T, H, W) is {size}: choose frame 0 to {frames - 1}, "
            f"y 0 to {height - 1}, x 0 to {width - 1}"
        )


def _grid(text: str, size: Position) -> list[Position]:
    try:
        t, y, x = (int(part) for part in text.removeprefix("grid:").split("x"))
    except ValueError as error:
        raise UserError(f"query {text!r} is not grid:TxHxW with three whole numbers, such as grid:2x4x4") from error
    grid = (t, y, x)
    if not all(1 <= parts <= pixels for parts, pixels in zip(grid, size, strict=True)):
        raise UserError(f"query {text!r} needs 1 to {size[0]} parts in time, {size[1]} in height, {size[2]} in width")
    if math.prod(grid) > MAX_QUERIES:
        raise UserError(f"query {text!r} asks for {math.prod(grid)} positions; at most {MAX_QUERIES} are drawn")
    return [center_of(cell, grid, size) for cell in product(*map(range, grid))]


def _name(query: Position) -> str:
    return "t{}_y{}_x{}".format(*query)
