"""The video with its most probable classes drawn into it."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from videonl.data.reading.decoding import open_video
from videonl.data.reading.video_reader import VideoReader, with_recount
from videonl.errors import UserError
from videonl.terminal import printable
from videonl.visualization.drawing import enlarged
from videonl.visualization.film_bar import fitting
from videonl.visualization.h264 import Look, write_h264
from videonl.visualization.saving import replacing
from videonl.visualization.timeline.colors import OTHER
from videonl.visualization.timeline.formats import percent
from videonl.visualization.timeline.playable import aspect_of, is_video, timed_frames
from videonl.visualization.timeline.segments import Segment
from videonl.visualization.timeline.timeline import Timeline

_MIN_PX = 256
_NUM_SHOWN = 3
_LEAST_SHOWN = 0.01
_DARK, _QUIET, _WHITE = "#14181d", "#c3cad1", "#ffffff"
_GROUND = (20, 24, 29, 176)


def write_film(timeline: Timeline, path: Path, segments: Sequence[Segment]) -> None:
    """Writes the video as H.264 without sound: at the bottom the best classes of the moment, and a strip of segments.

    Frames are decoded, drawn on and encoded one at a time, and shown when those of the video are. Small videos
    are enlarged, to a short side of 256 pixels or more.

    Args:
        timeline: Its video must still be there.
        path: Ends in ``.mp4``.
        segments: What the strip shows. The best class of a moment within a segment is white, otherwise gray.

    Raises:
        UserError: The video is not there, or the film cannot be written.
        DecodingError: The video cannot be decoded.
    """
    video = timeline.video
    if not is_video(video):
        raise UserError(f"{path} needs the frames of {timeline.video}, which is not a file here; write another format")
    with open_video(video) as reader, replacing(path, ".mp4") as unfinished:
        look = Look(pixel_aspect=aspect_of(reader))
        with_recount(lambda: write_h264(unfinished, _drawn(timeline, reader, segments), reader.fps, look))


def _drawn(timeline: Timeline, reader: VideoReader, segments: Sequence[Segment]) -> Iterator[tuple[float, Tensor]]:
    captions: _Captions | None = None
    for seconds, frame in timed_frames(reader):
        picture = enlarged(frame[None], _MIN_PX)[0]
        captions = captions or _Captions(timeline, segments, *picture.shape[:2])
        captions.draw_on(picture, seconds)
        yield seconds, picture


class _Captions:
    """Draws what a timeline says of a moment.

    Args:
        timeline: Says it.
        segments: What the strip shows.
        height: Of the pictures.
        width: Of the pictures.
    """

    def __init__(self, timeline: Timeline, segments: Sequence[Segment], height: int, width: int) -> None:
        self.timeline, self.segments, self.width = timeline, segments, width
        self.font_px = max(11, min(height // 18, 44))
        self.font = ImageFont.load_default(self.font_px)
        self.strip_px = max(4, height // 60)
        self.strip = self._strip()
        self._drawn: tuple[tuple[int, bool], Tensor] | None = None

    def draw_on(self, picture: Tensor, seconds: float) -> None:
        """Draws the panel of a moment, and the strip with a mark at it, into a picture (H, W, 3)."""
        panel = self._panel_at(seconds)
        bottom = len(picture) - self.strip_px
        place = picture[bottom - len(panel) : bottom, : panel.shape[1]]
        color, alpha = panel[..., :3].float(), panel[..., 3:].float() / 255
        place.copy_(torch.lerp(place.float(), color, alpha).round())
        picture[bottom:] = self.strip
        now = int(seconds / self.timeline.duration_seconds * self.width)
        picture[bottom:, max(now - 1, 0) : now + 2] = 255

    def _panel_at(self, seconds: float) -> Tensor:
        """RGBA (h, w, 4); drawn once for each window and not once for each frame."""
        cell = min(max(bisect_right(self.timeline.bounds, seconds) - 1, 0), len(self.timeline) - 1)
        is_sure = any(one.start <= seconds < one.end for one in self.segments)
        if self._drawn is None or self._drawn[0] != (cell, is_sure):
            self._drawn = (cell, is_sure), self._panel(cell, is_sure)
        return self._drawn[1]

    def _panel(self, cell: int, is_sure: bool) -> Tensor:
        row, line_px = self.timeline.probabilities[cell], round(1.7 * self.font_px)
        best, *others = np.argsort(-row, kind="stable")[:_NUM_SHOWN].tolist()
        order = [best, *(index for index in others if row[index] >= _LEAST_SHOWN)]
        width, margin = min(self.width, 22 * self.font_px), self.font_px // 2
        panel = Image.new("RGBA", (width, line_px * len(order) + margin), _GROUND)
        draw, numbers = ImageDraw.Draw(panel), 3 * self.font_px
        for line, index in enumerate(order):
            name, top = printable(self.timeline.class_names[index]), margin // 2 + line * line_px
            ink = _WHITE if is_sure and line == 0 else _QUIET
            text = fitting(name, draw, self.font, width - numbers - 2 * margin)
            draw.text((width - margin, top), percent(float(row[index])), font=self.font, fill=ink, anchor="ra")
            draw.text((margin, top), text, font=self.font, fill=ink)
            right, under = margin + (width - 2 * margin) * float(row[index]), top + round(1.35 * self.font_px)
            color = self.timeline.colors.get(self.timeline.class_names[index], OTHER)
            draw.rectangle((margin, under, right, under + max(1, self.font_px // 8)), fill=color)
        return torch.from_numpy(np.array(panel))

    def _strip(self) -> Tensor:
        """The segments along the whole width, (h, W, 3)."""
        strip = Image.new("RGB", (self.width, self.strip_px), _DARK)
        draw, scale = ImageDraw.Draw(strip), self.width / self.timeline.duration_seconds
        for one in self.segments:
            place = (
                round(one.start * scale),
                0,
                max(round(one.end * scale) - 1, round(one.start * scale)),
                self.strip_px,
            )
            draw.rectangle(place, fill=self.timeline.colors.get(one.label, OTHER))
        return torch.from_numpy(np.array(strip))
