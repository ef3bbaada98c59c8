"""H.264 in MP4, as browsers and players take it: 8 bits, 4:2:0, BT.709, without sound."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.video.reformatter import ColorRange, Colorspace
from torch import Tensor

_TIME_BASE = Fraction(1, 90_000)


class Look(NamedTuple):
    """What encoded pictures look like.

    Attributes:
        crf: Constant rate factor of x264, from 0 (lossless) to 51.
        short_side_px: Length that the shorter side is reduced to, where it is longer; both are rounded to even ones.
        pixel_aspect: Width over height of a pixel as it is shown; None of square ones.
    """

    crf: int = 18
    short_side_px: int | None = None
    pixel_aspect: Fraction | None = None


def write_h264(path: Path, pictures: Iterable[tuple[float, Tensor]], fps: float, look: Look) -> None:
    """Encodes pictures one at a time; memory does not grow with their number.

    Args:
        path: The file to write, whatever its name.
        pictures: When each is shown, in seconds, increasing; and RGB uint8 (H, W, 3). All get the size of the first.
        fps: Pictures per second, on average, for the header.
        look: Size and quality.
    """
    # faststart puts the index first, so that a browser plays the film while it loads.
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = None
        for frame in _frames(pictures, look.short_side_px):
            if stream is None:
                stream = _add_stream(container, frame, fps, look)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def _add_stream(container: Any, first: Any, fps: float, look: Look) -> Any:
    rate = Fraction(fps).limit_denominator(1001)
    stream = container.add_stream("libx264", rate=rate, options={"crf": str(look.crf), "preset": "veryfast"})
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
    stream.time_base = stream.codec_context.time_base = _TIME_BASE
    stream.codec_context.colorspace, stream.codec_context.color_range = first.colorspace, first.color_range
    if look.pixel_aspect is not None:
        stream.codec_context.sample_aspect_ratio = look.pixel_aspect
    return stream


def _frames(pictures: Iterable[tuple[float, Tensor]], short_side_px: int | None) -> Iterator[Any]:
    size: tuple[int, int] | None = None
    for seconds, picture in pictures:
        size = size or _even_size(picture.shape[0], picture.shape[1], short_side_px)
        rgb = av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")
        # Players take what says nothing of its colors for BT.601 or BT.709, by its size.
        frame = rgb.reformat(*size, "yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts, frame.time_base = round(seconds / _TIME_BASE), _TIME_BASE
        yield frame


def _even_size(height: int, width: int, short_side_px: int | None) -> tuple[int, int]:
    """Width and height: yuv420p halves both sides of the color planes, so they are even."""
    scale = min(1.0, (short_side_px or min(height, width)) / min(height, width))
    even_width, even_height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
    return even_width, even_height
