"""The frames of one video file: when each is shown, and where decoding may start."""

import base64
import dataclasses
import functools
import itertools
import json
import zlib
from dataclasses import dataclass

import torch

from videonl.data.reading.orientation import Orientation


@dataclass(frozen=True)
class FrameTable:
    """The frames of a file in presentation order, as plain data that can be pickled.

    Args:
        container: FFmpeg's name of the container format, such as ``avi``.
        codec: FFmpeg's name of the codec, such as ``h264``.
        stream_index: Which stream of the file holds the frames.
        file_size_bytes: Size of the file that this describes; another size means another file.
        timestamps_pts: When each frame is shown, in units of ``time_base``; increasing.
        time_base: Seconds per unit, as numerator and denominator.
        nominal_fps: Frames per second according to the header; says how long the last frame is shown.
        by_timestamp: Whether decoded frames are recognized by their timestamps, so that decoding may start at a key
            frame. Else the i-th frame out of the decoder is frame i, and decoding starts at the first.
        key_frames: Frames at which decoding may start for this frame and all after it; empty unless ``by_timestamp``.
        droppable_frames: Frames that no other refers to; empty unless ``by_timestamp``.
        num_damaged_packets: Number of packets that cannot be decoded, where all have been tried.
        is_plain: Whether every packet is one frame shown, and every key frame comes before all that follow it. Other
            decoders count packets and start at any key frame, which is right for such files only.
        orientation: How the stored frames are shown; None where none of them was looked at.
    """

    container: str
    codec: str
    stream_index: int
    file_size_bytes: int
    timestamps_pts: tuple[int, ...]
    time_base: tuple[int, int]
    nominal_fps: float
    by_timestamp: bool = False
    key_frames: tuple[int, ...] = ()
    droppable_frames: tuple[int, ...] = ()
    num_damaged_packets: int = 0
    is_plain: bool = False
    orientation: Orientation | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.timestamps_pts)

    @functools.cached_property
    def timestamps_seconds(self) -> torch.Tensor:
        """When each frame is shown, float64 ``(num_frames,)``; the first at 0."""
        pts = torch.tensor(self.timestamps_pts, dtype=torch.int64)
        numerator, denominator = self.time_base
        return (pts - pts[0]).double() * numerator / denominator

    @property
    def fps(self) -> float:
        """Frames per second, on average; the header's value if there is a single frame."""
        last = float(self.timestamps_seconds[-1])
        return (self.num_frames - 1) / last if last else self.nominal_fps

    @property
    def duration_seconds(self) -> float:
        """From the first frame's appearance to the last one's end."""
        return float(self.timestamps_seconds[-1]) + 1 / self.nominal_fps

    def to_bytes(self) -> bytes:
        """Pack into a few hundred bytes: of an even frame rate, only the steps between timestamps differ from none."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in _INCREASING:
            values = fields[name]
            fields[name] = [after - before for before, after in itertools.pairwise((0, *values))]
        return zlib.compress(json.dumps(fields, separators=(",", ":")).encode())

    def to_text(self) -> str:
        """Pack into ASCII, for tables and lists."""
        return base64.b85encode(self.to_bytes()).decode()

    @classmethod
    def from_text(cls, packed: str) -> "FrameTable":
        """Undo ``to_text``.

        Raises:
            ValueError: The text is of something else, or was changed.
        """
        return cls.from_bytes(base64.b85decode(packed))

    @classmethod
    def from_bytes(cls, packed: bytes) -> "FrameTable":
        """Undo ``to_bytes``.

        Raises:
            ValueError: The bytes are of something else, or were changed.
        """
        try:
            fields = json.loads(zlib.decompress(packed))
            increasing = {name: tuple(itertools.accumulate(fields[name])) for name in _INCREASING}
            flags = fields.get("orientation")
            orientation = None if flags is None else Orientation(*flags)
            table = cls(**{**fields, **increasing, "time_base": tuple(fields["time_base"]), "orientation": orientation})
            table.timestamps_seconds[-1]  # raises where these are no numbers, or none
        except (zlib.error, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
            raise ValueError(f"this is not a frame table ({error})") from error
        return table


_INCREASING = ("timestamps_pts", "key_frames", "droppable_frames")
