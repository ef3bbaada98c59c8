"""The segment that a row names: ``start`` and ``end`` in seconds, or in frames."""

import math
from collections.abc import Callable

from videonl.data.reading.segment import Segment, read_time
from videonl.errors import UserError


def read_segment(start: str, end: str, in_frames: bool, origin: str) -> Segment | None:
    """The part of a video from a start to before an end; an empty end is that of the video, two empty ones all of it.

    >>> str(read_segment("00:00:01.500", "", False, "a.csv:2"))
    't=1.5'

    Args:
        start: Seconds, ``HH:MM:SS.mss``, or the number of a frame from 0.
        end: The same.
        in_frames: Whether they are numbers of frames.
        origin: Where that is written, for messages.

    Raises:
        UserError: One cannot be read, or the end is not after the start.
    """
    if not start and not end:
        return None
    read = _frame if in_frames else read_time
    first = _read(read, start, "start", origin) if start else 0.0
    after = _read(read, end, "end", origin) if end else math.inf
    return segment_between(first, after, origin, in_frames)


def segment_between(start: float, end: float, origin: str, in_frames: bool = False) -> Segment:
    """The segment of two numbers.

    Raises:
        UserError: The start is negative, or the end is not after it.
    """
    if not 0 <= start < math.inf:
        raise UserError(f"{origin}: the start {start:g} is not a time in a video, which begins at 0. Correct it.")
    if not end > start:
        raise UserError(
            f"{origin}: the end {end:g} is not after the start {start:g}. Correct them; a segment has the frames from "
            "start to before end."
        )
    return Segment(start, end, in_frames)


def _read(read: Callable[[str], float], text: str, what: str, origin: str) -> float:
    try:
        return read(text)
    except ValueError as error:
        raise UserError(f"{origin}: the {what} {error}.") from None


def _frame(text: str) -> float:
    number = text.removesuffix(".0")  # as spreadsheets write integers beside empty cells
    if not number.isascii() or not number.isdigit():
        raise ValueError(f"{text!r} is no number of a frame: count from 0")
    return float(number)
