"""Decoded frames on their way to one tensor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from av.video.reformatter import VideoReformatter

from videonl.data.reading.orientation import Orientation, orientation_of, upright
from videonl.data.reading.video_reader import DecodingError


class ClipBuffer:
    """The frames of one reading. Each is converted and written to its places as soon as it is decoded.

    Args:
        path: The video file.
        indices: The frames wanted, in the order wanted; they may repeat.
        reformatter: Converts to RGB; it keeps what it prepared for a size.
    """

    def __init__(self, path: Path, indices: Sequence[int], reformatter: VideoReformatter) -> None:
        self._path = path
        self._places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            self._places.setdefault(index, []).append(place)
        self.missing = set(self._places)
        self._reformatter = reformatter
        self._rows: npt.NDArray[np.uint8] | None = None  # (T, H, W * 3), as the frames are stored
        self._layout: tuple[int, int, Orientation] | None = None

    def put(self, index: int, frame: Any) -> None:
        """Keep a frame if it is wanted.

        Raises:
            DecodingError: It has another size or orientation than those before.
        """
        if index not in self._places:
            return
        rows = self._rows_for((frame.height, frame.width, orientation_of(frame)))
        plane = self._reformatter.reformat(frame, format="rgb24", threads=1).planes[0]
        # The lines of a frame are padded.
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : rows.shape[2]]
        for place in self._places[index]:
            rows[place] = lines
        self.missing.discard(index)

    def clip(self) -> torch.Tensor:
        """(T, H, W, 3) uint8, turned and mirrored as the display matrix says."""
        if self._rows is None or self._layout is None or self.missing:
            raise ValueError(f"frames {sorted(self.missing)} are missing")
        _, width_px, orientation = self._layout
        return upright(torch.from_numpy(self._rows.reshape(*self._rows.shape[:2], width_px, 3)), orientation, rows=1)

    def _rows_for(self, layout: tuple[int, int, Orientation]) -> npt.NDArray[np.uint8]:
        if self._rows is None:
            height_px, width_px, _ = self._layout = layout
            num_frames = sum(map(len, self._places.values()))
            # NumPy asks for huge pages, torch does not: fewer pages to fault in a large clip.
            self._rows = np.empty((num_frames, height_px, width_px * 3), np.uint8)
        if layout != self._layout:
            sizes = sorted((height, width) for height, width, _ in (layout, self._layout or layout))
            raise DecodingError(self._path, f"its frames change size or orientation ({sizes}); re-encode it")
        return self._rows
