"""Files to look at: a strip of all frames as PNG, a film as MP4."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.video.stream import VideoStream
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad

from videonl.errors import UserError
from videonl.visualization.attention import AttentionMap
from videonl.visualization.drawing import enlarged, full_weight, marked, overlay, query_frame
from videonl.visualization.saving import replacing
from videonl.visualization.strip_figure import strip_figure

__all__ = ["film", "overlay", "strip"]

_FILM_MIN_PX = 256
_FONT_PX = 15
_BAR_PX = 52
_BAR_COLOUR, _TEXT_COLOUR = (24, 24, 24), (240, 240, 240)


def strip(frames: Tensor, attention: AttentionMap, path: str | Path) -> None:
    """Writes a PNG of all frames side by side, each plain and with its overlay beneath, at most 8 to a row.

    The query's cell is squared in cyan on its frame. A colour bar gives the weights.

    Args:
        frames: (T, H, W, 3) uint8, the clip's frames before normalisation.
        attention: the map to show.
        path: ends in ``.png``; missing folders are made.

    Raises:
        UserError: the file cannot be written under this name.
    """
    figure = strip_figure(frames, attention)
    with replacing(path, ".png") as temporary:
        # Not savefig: its resolution and margins follow the user's matplotlibrc, and the strip is laid out in pixels.
        FigureCanvasAgg(figure).print_png(temporary)  # type: ignore[no-untyped-call]  # untyped in matplotlib


def film(frames: Tensor, attention: AttentionMap, path: str | Path, fps: float = 4.0) -> None:
    """Writes an H.264 MP4 of the overlay, with the block's name and the frame's number in a bar beneath.

    The query's frame is held for one second with the query's cell squared; the other frames are shown once, with a
    faint square at the same place. Small clips are enlarged to 256 pixels or more.

    Args:
        frames: (T, H, W, 3) uint8, the clip's frames before normalisation.
        attention: the map to show.
        path: ends in ``.mp4``; missing folders are made.
        fps: frames of the clip per second of film; slower than the clip by default, to have time to look.

    Raises:
        UserError: the file cannot be written under this name, or ``fps`` is not between 0.1 and 240.
    """
    if not 0.1 <= fps <= 240:
        raise UserError(f"fps {fps} is not between 0.1 and 240; 4 is a good pace to look at attention")
    pictures = _pictures(frames, attention, hold_frames=max(round(fps), 1))
    with (
        replacing(path, ".mp4") as temporary,
        # faststart puts the index first, so that a browser plays the film while it loads.
        av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        _encode(container, pictures, fps)


def _encode(container: av.container.OutputContainer, pictures: Iterator[Tensor], fps: float) -> None:
    stream: VideoStream | None = None
    for picture in pictures:
        if stream is None:
            rate = Fraction(fps).limit_denominator(1000)
            stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")))
    if stream is not None:
        container.mux(stream.encode())


def _pictures(frames: Tensor, attention: AttentionMap, hold_frames: int) -> Iterator[Tensor]:
    queried = query_frame(attention, frames)
    for index, frame in enumerate(overlay(frames, attention)):
        is_query = index == queried
        shown = marked(enlarged(frame[None], _FILM_MIN_PX)[0], attention, faint=not is_query)
        picture = torch.cat([shown, _bar(shown.shape[1], attention, index, is_query)])
        for _ in range(hold_frames if is_query else 1):
            yield _even(picture)


def _bar(width: int, attention: AttentionMap, index: int, is_query: bool) -> Tensor:
    bar = Image.new("RGB", (width, _BAR_PX), _BAR_COLOUR)
    draw = ImageDraw.Draw(bar)
    font = ImageFont.load_default(_FONT_PX)
    place = f"frame {index}" + (" (query)" if is_query else "")
    for line, text in enumerate((attention.block, f"{place}   brightest: {full_weight(attention):.3g}")):
        text = _shortened(text, draw, font, width - 16)
        draw.text((8, 6 + line * (_FONT_PX + 6)), text, font=font, fill=_TEXT_COLOUR)
    return torch.frombuffer(bytearray(bar.tobytes()), dtype=torch.uint8).view(_BAR_PX, width, 3)


def _shortened(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int
) -> str:
    # From the front: the end of a module path is what tells blocks apart.
    kept = text
    while draw.textlength(kept, font=font) > width_px:
        text = text[1:]
        kept = "..." + text
    return kept


def _even(picture: Tensor) -> Tensor:
    # yuv420p halves both sides of the colour planes, so they have to be even; (H, W, 3) -> (H + H % 2, W + W % 2, 3)
    height, width, _ = picture.shape
    return pad(picture, (0, 0, 0, width % 2, 0, height % 2))
