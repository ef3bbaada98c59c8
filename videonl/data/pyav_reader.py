"""The PyAV backend: exact on every format, and the reference for pixels."""

import bisect
import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter

from videonl.data.container import decode, open_container, packets_of, video_stream
from videonl.data.frame_table import FrameTable
from videonl.data.scan import decode_once, remember
from videonl.data.video_reader import DecodingError, VideoReader


class PyAVReader(VideoReader):
    """Reads with PyAV, which brings its own FFmpeg and decodes every format that FFmpeg does.

    Decoding starts at the last key frame before a wanted frame, ends with the last wanted one, and leaves out frames in
    between that no other refers to: the pixels are those of decoding everything. Damaged packets are skipped, as the
    ``ffmpeg`` command does; the frames are then counted anew, by decoding all of them once.

    Args:
        path: The video file.
        table: Its frames.

    Raises:
        DecodingError: The table is that of another file.
    """

    def __init__(self, path: Path | str, table: FrameTable) -> None:
        super().__init__(path, table)
        self._reformatter = VideoReformatter()  # one for all frames: it keeps what it prepared for their size

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        self._check_indices(indices)
        wanted = sorted(set(indices))
        frames = self._read_by_timestamp(wanted) if self.table.by_timestamp else self._read_in_order(wanted)
        if frames is None:
            self.table = decode_once(self.path, self.table)
            remember(self.path, self.table)
            frames = self._read_in_order(wanted) or {}
        missing = [index for index in wanted if index not in frames]
        if missing:
            raise DecodingError(
                self.path,
                f"frame {missing[0]} cannot be decoded: the file is damaged, {self.num_frames} frames are good",
            )
        return self._stack([frames[index] for index in indices])

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _read_by_timestamp(self, wanted: Sequence[int]) -> dict[int, torch.Tensor] | None:
        """Frames by index, or None where the file does not give what its packets announce."""
        # From the first frame where seeking leads elsewhere than the packets say.
        for groups in (_by_start(wanted, self.table.key_frames), {0: list(wanted)}):
            frames = self._read_groups(groups)
            if len(frames) == len(wanted):
                return frames
        return None

    def _read_groups(self, groups: dict[int, list[int]]) -> dict[int, torch.Tensor]:
        frames: dict[int, torch.Tensor] = {}
        with open_container(self.path) as container, contextlib.suppress(av.InvalidDataError):
            stream = video_stream(container, self.table.stream_index)
            # FFmpeg mends damage with what it decoded before, which here is not all: rather have it complain.
            stream.codec_context.options = {"err_detect": "explode"}
            for start, members in groups.items():
                frames |= self._decode_members(self._packets_from(start, container, stream), stream, members)
        return frames

    def _packets_from(self, start: int, container: Any, stream: Any) -> Iterator[Any]:
        """Packets from that key frame on, none where seeking leads elsewhere. A file opens at its first frame."""
        if start == 0:
            return packets_of(container, stream)
        pts = self.table.timestamps_pts[start]
        container.seek(pts, stream=stream)
        packets = packets_of(container, stream)
        first = next(packets, None)
        return itertools.chain([first], packets) if first is not None and first.pts == pts else iter(())

    def _decode_members(self, packets: Iterator[Any], stream: Any, members: Sequence[int]) -> dict[int, torch.Tensor]:
        """Decode what the members need and nothing else; having sent the last of them, have the decoder finish."""
        frames: dict[int, torch.Tensor] = {}
        to_send: set[int | None] = set(members)  # a packet of no frame shown has no index
        for packet in packets:
            index = self._index_of.get(packet.pts)
            if index in self._droppable and index not in to_send:
                continue
            to_send -= {index}
            decoded = packet.decode()
            if not to_send:
                decoded += stream.codec_context.decode(None)
            for frame in decoded:
                if frame.is_corrupt:
                    return {}
                shown = self._index_of.get(frame.pts)
                if shown is not None and shown in members:
                    frames[shown] = self._upright_rgb(frame)
            if not to_send:
                break
        return frames

    def _read_in_order(self, wanted: Sequence[int]) -> dict[int, torch.Tensor] | None:
        """Frames by index, or None where packets are damaged that were not known to be."""
        num_damaged = 0

        def count_damage() -> None:
            nonlocal num_damaged
            num_damaged += 1

        asked = set(wanted)
        frames: dict[int, torch.Tensor] = {}
        with open_container(self.path) as container:
            decoded = decode(container, video_stream(container, self.table.stream_index), count_damage)
            for index, frame in zip(range(wanted[-1] + 1), decoded, strict=False):
                if index in asked:
                    frames[index] = self._upright_rgb(frame)
        is_known = num_damaged <= self.table.num_damaged_packets and len(frames) == len(wanted)
        return frames if is_known else None

    @functools.cached_property
    def _index_of(self) -> dict[int, int]:
        return {pts: index for index, pts in enumerate(self.table.timestamps_pts)}

    @functools.cached_property
    def _droppable(self) -> frozenset[int | None]:
        return frozenset(self.table.droppable_frames)

    def _upright_rgb(self, frame: Any) -> torch.Tensor:
        """(H, W, 3) uint8, turned as the display matrix says: counterclockwise, in steps of 90 degrees."""
        plane = self._reformatter.reformat(frame, format="rgb24", threads=1).planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)
        rgb = torch.from_numpy(rows)[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
        quarter_turns = round(frame.rotation / 90) % 4
        return rgb.rot90(quarter_turns, (0, 1)) if quarter_turns else rgb

    def _stack(self, frames: Sequence[torch.Tensor]) -> torch.Tensor:
        sizes = {tuple(frame.shape) for frame in frames}
        if len(sizes) > 1:
            raise DecodingError(self.path, f"its frames change size ({sorted(sizes)}); re-encode it")
        return torch.stack(list(frames))


def _by_start(wanted: Sequence[int], key_frames: Sequence[int]) -> dict[int, list[int]]:
    """Wanted frames grouped by the last key frame before them, or by the first frame; both in rising order."""
    groups: dict[int, list[int]] = {}
    for index in wanted:
        place = bisect.bisect_right(key_frames, index)
        groups.setdefault(key_frames[place - 1] if place else 0, []).append(index)
    return groups
