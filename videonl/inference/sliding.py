"""Runs a network over windows: each frame is decoded, resized and cropped once, however many windows it is in."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence

import torch
from torch import Tensor

from videonl.data.transforms import ViewTransform
from videonl.errors import require_within
from videonl.inference.recognizer import VIEWS_PER_STEP, Recognizer
from videonl.inference.windows import Window, Windows
from videonl.runtime.ahead import ahead


def views_of(windows: Windows) -> Generator[tuple[Window, Tensor], None, None]:
    """Decodes the frames of windows in one pass, and cuts each window's views.

    Memory does not grow with the number of windows: a frame is dropped when no coming window has it.

    Yields:
        Each window with its views, uint8 ``(V, C, T, H, W)``: those that :class:`ViewTransform` gives for its frames.

    Raises:
        FewerFramesError: The video turned out to be damaged; make new windows, and start over (``with_recount``).
        DecodingError: A frame cannot be decoded.
    """
    needed = sorted({frame for window in windows for frame in window.frames})
    pixels = zip(needed, windows.reader.frames(needed), strict=True)
    kept: dict[int, Tensor] = {}
    for window in windows:
        for frame in [frame for frame in kept if frame < window.first_frame]:
            del kept[frame]
        while window.last_frame not in kept:
            frame, picture = next(pixels)
            kept[frame] = _cut(windows.transform, picture)
        num_views, num_channels, height_px, width_px = kept[window.last_frame].shape
        size = (num_views, num_channels, len(window.frames), height_px, width_px)
        clip = torch.empty(size, dtype=torch.uint8, memory_format=torch.channels_last_3d)
        yield window, torch.stack([kept[frame] for frame in window.frames], dim=2, out=clip)


def scored(recognizer: Recognizer, windows: Windows, batch_size: int | None = None) -> Iterator[tuple[Window, Tensor]]:
    """Scores windows, while a thread decodes those that follow.

    Args:
        recognizer: Scores the windows.
        windows: Their clip format must be the recognizer's.
        batch_size: Windows in one forward pass; by default one on a CPU, where the logits are then those of each window
            alone to the bit, and as many as make 8 views on a GPU.

    Yields:
        Each window with the logits of its views ``(V, K)``, on the network's device.

    Raises:
        FewerFramesError: As :func:`views_of`.
        DecodingError: As :func:`views_of`.
    """

    def score(views: Tensor, window: Tensor) -> Tensor:
        return recognizer.logits_of_videos(views, window)

    return passed(windows, score, batch_size or default_batch_size(recognizer, windows))


def passed(
    windows: Windows, forward: Callable[[Tensor, Tensor], Tensor], batch_size: int
) -> Iterator[tuple[Window, Tensor]]:
    """Gives windows to a network, while a thread decodes those that follow.

    Args:
        windows: The windows.
        forward: Takes the views (V, C, T, H, W) of several windows and the number of each view's window (V,), and
            returns a tensor of one row for each view.
        batch_size: Most windows at once.

    Yields:
        Each window with the rows of its views.
    """
    require_within(1, batch_size=batch_size)
    with contextlib.closing(ahead(views_of(windows), most=max(2, batch_size))) as ready:
        while batch := list(itertools.islice(ready, batch_size)):
            sizes = [len(views) for _, views in batch]
            number = torch.arange(len(batch)).repeat_interleave(torch.tensor(sizes))
            rows = forward(_joined([views for _, views in batch]), number)
            yield from zip([window for window, _ in batch], rows.split(sizes), strict=True)


def default_batch_size(recognizer: Recognizer, windows: Windows) -> int:
    """The default number of windows in a forward pass."""
    return 1 if recognizer.device.type == "cpu" else max(1, VIEWS_PER_STEP // windows.transform.num_crops)


def _cut(transform: ViewTransform, frame: Tensor) -> Tensor:
    """The crops of one frame (H, W, C), in memory of their own: (V, C, H, W)."""
    return torch.cat(transform.cuts(frame.permute(2, 0, 1)[None]))  # (H, W, C) -> (1, C, H, W)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Views of several windows in one tensor, with their channels innermost as they are."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
