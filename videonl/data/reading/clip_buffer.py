"""Decoded frames on their way to tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from av.video.reformatter import VideoReformatter

from videonl.data.reading.orientation import Orientation, orientation_of, upright
from videonl.data.reading.video_reader import DecodingError


class Pictures:
    """Converts the decoded frames of one reading to RGB, and refuses those that change size or orientation.

    Args:
        path: The video file.
        reformatter: Converts to RGB; it keeps what it prepared for a size.
    """

    def __init__(self, path: Path, reformatter: VideoReformatter) -> None:
        self._path = path
        self._reformatter = reformatter
        self.layout: tuple[int, int, Orientation] | None = None

    def lines(self, frame: Any) -> npt.NDArray[np.uint8]:
        """The frame as it is stored, (H, W * 3), a view of memory that its decoder does not use again.

        Raises:
            DecodingError: It has another size or orientation than those before.
        """
        layout = (frame.height, frame.width, orientation_of(frame))
        self.layout = self.layout or layout
        if layout != self.layout:
            sizes = sorted((height, width) for height, width, _ in (layout, self.layout))
            raise DecodingError(self._path, f"its frames change size or orientation ({sizes}); re-encode it")
        plane = self._reformatter.reformat(frame, format="rgb24", threads=1).planes[0]
        # The lines of a frame are padded.
        return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : frame.width * 3]

    def picture(self, frame: Any) -> torch.Tensor:
        """The frame as it is shown, uint8 (H, W, 3), in memory of its own."""
        lines = self.lines(frame).copy()
        return self.shown(lines.reshape(*lines.shape[:-1], -1, 3), rows=0)

    def shown(self, stored: npt.NDArray[np.uint8], rows: int) -> torch.Tensor:
        """Stored frames, turned and mirrored as the display matrix says; the dimension ``rows`` is that of lines."""
        if self.layout is None:
            raise ValueError("no frame was converted")
        return upright(torch.from_numpy(stored), self.layout[-1], rows)


class ClipBuffer:
    """The frames of one reading. Each is converted and written to its places as soon as it is decoded.

    Args:
        path: The video file.
        indices: The frames wanted, in the order wanted; they may repeat.
        reformatter: Converts to RGB; it keeps what it prepared for a size.
    """

    def __init__(self, path: Path, indices: Sequence[int], reformatter: VideoReformatter) -> None:
        self._places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            self._places.setdefault(index, []).append(place)
        self.missing = set(self._places)
        self._pictures = Pictures(path, reformatter)
        self._rows: npt.NDArray[np.uint8] | None = None  # (T, H, W * 3), as the frames are stored

    def put(self, index: int, frame: Any) -> None:
        """Keep a frame if it is wanted.

        Raises:
            DecodingError: It has another size or orientation than those before.
        """
        if index not in self._places:
            return
        lines = self._pictures.lines(frame)
        if self._rows is None:
            num_frames = sum(map(len, self._places.values()))
            # NumPy asks for huge pages, torch does not: fewer pages to fault in a large clip.
            self._rows = np.empty((num_frames, *lines.shape), np.uint8)
        for place in self._places[index]:
            self._rows[place] = lines
        self.missing.discard(index)

    def clip(self) -> torch.Tensor:
        """(T, H, W, 3) uint8, turned and mirrored as the display matrix says."""
        if self._rows is None or self.missing:
            raise ValueError(f"frames {sorted(self.missing)} are missing")
        return self._pictures.shown(self._rows.reshape(*self._rows.shape[:2], -1, 3), rows=1)
