"""Files to look at: a strip of all frames as PNG, a film as MP4 or GIF."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from videonl.errors import UserError
from videonl.visualization.drawing import enlarged, marked, overlay, query_frame
from videonl.visualization.film_bar import film_bar, frame_label
from videonl.visualization.h264 import Look, write_h264
from videonl.visualization.maps import SpacetimeMap
from videonl.visualization.saving import replacing

__all__ = ["film", "overlay", "strip"]

_FILM_MIN_PX = 256
_GAP_PX = 6  # between two maps


def strip(
    frames: Tensor,
    shown: SpacetimeMap,
    path: str | Path,
    seconds: Sequence[float] | None = None,
    beside: SpacetimeMap | None = None,
) -> None:
    """Writes a PNG of all frames side by side, each plain and with its overlay beneath, at most 8 to a row.

    The query's cell, where there is one, is squared in cyan on its frame. A color bar gives the values.

    Args:
        frames: (T, H, W, 3) uint8, the clip's frames before normalization.
        shown: the map to show.
        path: ends in ``.png``; missing folders are made.
        seconds: the frames' times in the video, to write beneath them.
        beside: another map to hold it against: its overlay follows beneath the first, with a color bar of its own.

    Raises:
        UserError: the file cannot be written under this name.
    """
    # Here: matplotlib takes a second, and commands that draw nothing need not wait for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from videonl.visualization.strip_figure import strip_figure

    figure = strip_figure(frames, [shown] if beside is None else [shown, beside], seconds)
    with replacing(path, ".png") as temporary:
        # Not savefig: its resolution and margins follow the user's matplotlibrc, and the strip is laid out in pixels.
        FigureCanvasAgg(figure).print_png(temporary)  # type: ignore[no-untyped-call]  # untyped in matplotlib


def film(
    frames: Tensor,
    shown: SpacetimeMap,
    path: str | Path,
    fps: float = 4.0,
    seconds: Sequence[float] | None = None,
    beside: SpacetimeMap | None = None,
) -> None:
    """Writes the overlay as an H.264 MP4 or a GIF; beneath it what is shown, the frame, and a color bar.

    The query's frame is held for one second with the query's cell squared; the other frames are shown once, with a
    faint square at the same place. Small clips are enlarged to 256 pixels or more.

    Args:
        frames: (T, H, W, 3) uint8, the clip's frames before normalization.
        shown: the map to show.
        path: ends in ``.mp4`` or ``.gif``; missing folders are made.
        fps: frames of the clip per second of film; slower than the clip by default, to have time to look.
        seconds: the frames' times in the video, to write beneath them.
        beside: another map to hold it against, on the right with a color bar of its own.

    Raises:
        UserError: the file cannot be written under this name, or ``fps`` is not between 0.1 and 240.
    """
    if not 0.1 <= fps <= 240:
        raise UserError(f"fps {fps} is not between 0.1 and 240; 4 is a good rate for viewing attention")
    maps = [shown] if beside is None else [shown, beside]
    pictures = _pictures(frames, maps, max(round(fps), 1), seconds)
    write, suffix = (_write_gif, ".gif") if Path(path).suffix.lower() == ".gif" else (_write_mp4, ".mp4")
    with replacing(path, suffix) as temporary:
        write(pictures, temporary, fps)


def _write_gif(pictures: Iterator[Tensor], path: Path, fps: float) -> None:
    # The palette that covers most colors keeps the few pixels of the color bar smooth.
    palette, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    first, *others = (Image.fromarray(picture.numpy()).quantize(method=palette, dither=dither) for picture in pictures)
    first.save(path, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


def _write_mp4(pictures: Iterator[Tensor], path: Path, fps: float) -> None:
    write_h264(path, ((index / fps, picture) for index, picture in enumerate(pictures)), fps, Look())


def _pictures(
    frames: Tensor, maps: Sequence[SpacetimeMap], hold_frames: int, seconds: Sequence[float] | None
) -> Iterator[Tensor]:
    asking = maps[0]
    queried = query_frame(asking, frames)
    overlays = [overlay(frames, shown) for shown in maps]
    for index in range(len(frames)):
        is_query = index == queried
        panels = []
        for shown, lit in zip(maps, overlays, strict=True):
            picture = marked(enlarged(lit[index : index + 1], _FILM_MIN_PX)[0], asking, faint=not is_query)
            bar = film_bar(picture.shape[1], shown, frame_label(index, seconds, is_query))
            panels += [picture.new_zeros(len(picture) + len(bar), _GAP_PX, 3), torch.cat([picture, bar])]
        for _ in range(hold_frames if is_query else 1):
            yield _even(torch.cat(panels[1:], dim=1))


def _even(picture: Tensor) -> Tensor:
    # yuv420p halves both sides of the color planes, so they have to be even; (H, W, 3) -> (H + H % 2, W + W % 2, 3)
    height, width, _ = picture.shape
    return pad(picture, (0, 0, 0, width % 2, 0, height % 2))
