"""The PyAV backend: exact on every format."""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import torch

from videonl.data.video_reader import ClosingReader, DecodingError, check_exists, check_indices

_FALLBACK_FPS = 25.0
# Non-reference frames influence no other frame, so these decoders may skip the unwanted ones: identical pixels, a third
# faster. Only where the container keeps presentation times: AVI does not, and there skipping gave other frames.
_CODECS_WITH_SKIPPING = frozenset(("h264", "hevc"))
_FORMATS_WITH_SKIPPING = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"))


class _Packet(NamedTuple):
    """What is kept of a packet: not its data, which for all packets together is the whole file."""

    pts: int | None
    is_keyframe: bool
    is_corrupt: bool


class PyAVReader(ClosingReader):
    """Reads with PyAV, which brings its own FFmpeg and decodes every format that FFmpeg does.

    ``num_frames`` counts packets, which takes no decoding. Where the last packets hold no frame of their own (packed
    B-frames in AVI: 1 to 3 too many), those last indices give the last frame again. Rotation metadata is applied.

    Args:
        path: The video file.

    Raises:
        DecodingError: The file is missing, empty, or no video.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        check_exists(self.path)
        with self._open() as (container, stream):
            self.fps = float(stream.average_rate or stream.guessed_rate or _FALLBACK_FPS)
            # An edit list removes discarded packets from the presentation: the decoder outputs nothing for them.
            packets = [
                _Packet(packet.pts, packet.is_keyframe, packet.is_corrupt)
                for packet in container.demux(stream)
                if packet.size and not packet.is_discard
            ]
            skippable = (
                container.format.name in _FORMATS_WITH_SKIPPING and stream.codec_context.name in _CODECS_WITH_SKIPPING
            )
            self._timestamps_pts = _presentation_timestamps(packets) if skippable else None
        self.num_frames = len(packets)
        if not packets:
            raise DecodingError(self.path, "has a video stream but no frame in it")

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        check_indices(self.path, indices, self.num_frames)
        wanted = set(indices)
        frames, last = self._collect(wanted, self._frames_with_skipping(wanted)) if self._timestamps_pts else ({}, None)
        if not wanted <= frames.keys():
            frames, last = self._collect(wanted, self._frames())
        past_the_end = wanted - frames.keys()
        if past_the_end:
            if last is None:
                raise DecodingError(self.path, "no frame could be decoded")
            frames |= dict.fromkeys(past_the_end, _upright_rgb(last))
        return _stack(self.path, [frames[index] for index in indices])

    @staticmethod
    def _collect(
        wanted: set[int], decoded: Generator[tuple[int, Any], None, None]
    ) -> tuple[dict[int, torch.Tensor], Any]:
        """Convert the wanted frames, no others, and stop at the last of them; also return the last frame seen."""
        frames: dict[int, torch.Tensor] = {}
        last = None
        with contextlib.closing(decoded):
            for index, last in decoded:
                if index in wanted and index not in frames:
                    frames[index] = _upright_rgb(last)
                if len(frames) == len(wanted):
                    break
        return frames, last

    def _frames(self) -> Generator[tuple[int, Any], None, None]:
        with self._open() as (container, stream):
            yield from enumerate(container.decode(stream))

    def _frames_with_skipping(self, wanted: set[int]) -> Generator[tuple[int, Any], None, None]:
        assert self._timestamps_pts is not None
        index_of = {pts: index for index, pts in enumerate(self._timestamps_pts)}
        with self._open() as (container, stream):
            for packet in container.demux(stream):
                needed = packet.pts is None or index_of.get(packet.pts) in wanted
                stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
                for frame in packet.decode():
                    yield index_of.get(frame.pts, -1), frame

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        try:
            with av.open(str(self.path), metadata_errors="ignore") as container:
                stream: Any = container.streams.best("video")
                if stream is None or stream.codec_context is None:
                    raise DecodingError(self.path, "has no video stream that can be decoded")
                stream.thread_type = "NONE"  # the loader's worker processes are the parallelism
                yield container, stream
        except (av.FFmpegError, OSError) as error:
            raise DecodingError(self.path, f"cannot be decoded ({error.strerror or error})") from error


def _presentation_timestamps(packets: Sequence[_Packet]) -> list[int] | None:
    """Timestamps in presentation order, or None where they cannot be trusted to number the decoder's output."""
    timestamps_pts = [packet.pts for packet in packets if packet.pts is not None]
    distinct = len(set(timestamps_pts)) == len(packets)
    if not packets or not distinct or any(packet.is_corrupt for packet in packets):
        return None
    # Decoders output nothing before the first key frame, so frames presented before it would shift the numbering.
    starts_clean = packets[0].is_keyframe and packets[0].pts == min(timestamps_pts)
    return sorted(timestamps_pts) if starts_clean else None


def _upright_rgb(frame: Any) -> torch.Tensor:
    """(H, W, 3) uint8, turned as the display matrix says: counterclockwise, in steps of 90 degrees."""
    rgb = torch.from_numpy(frame.to_ndarray(format="rgb24", threads=1))
    quarter_turns = round(frame.rotation / 90) % 4
    return rgb.rot90(quarter_turns, (0, 1)) if quarter_turns else rgb


def _stack(path: Path, frames: Sequence[torch.Tensor]) -> torch.Tensor:
    sizes = {tuple(frame.shape) for frame in frames}
    if len(sizes) > 1:
        raise DecodingError(path, f"its frames change size ({sorted(sizes)}); re-encode it")
    return torch.stack(list(frames))
