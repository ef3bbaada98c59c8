"""The PyAV backend: exact on every format, and the reference for pixels."""

import bisect
import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import torch
from av.video.reformatter import VideoReformatter

from videonl.data.reading.clip_buffer import ClipBuffer
from videonl.data.reading.container import decode, open_container, packets_of, video_stream
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.scan import decode_once, remember
from videonl.data.reading.video_reader import FewerFramesError, VideoReader

# FFmpeg mends damage with what it decoded before, which here is not all: rather have it complain.
_OPTIONS = {"err_detect": "explode"}
# H.264 may leave open how far pictures are reordered. FFmpeg then guesses on opening; without that, it drops pictures
# until it knows, or holds back as many as the standard allows.
_BY_HEADER_OPTIONS = {**_OPTIONS, "strict": "strict"}


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
        """See :meth:`VideoReader.read`; of rotated files, a view of memory that holds them unturned."""
        self._check_indices(indices)
        clip = self._read_by_timestamp(indices) if self.table.by_timestamp else self._read_in_order(indices)
        if clip is None:
            self.table = decode_once(self.path, self.table)
            remember(self.path, self.table)
            clip = self._read_in_order(indices)
        if clip is None:
            reason = f"frame {max(indices)} cannot be decoded: the file is damaged after {self.num_frames} frames"
            raise FewerFramesError(self.path, reason)
        return clip.clip()

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _read_by_timestamp(self, indices: Sequence[int]) -> ClipBuffer | None:
        """The clip, or None if decoding does not give what the packets announce."""
        wanted = sorted(set(indices))
        # From the first frame where seeking leads elsewhere than the packets say.
        for groups, by_header in ((_by_start(wanted, self.table.key_frames), True), ({0: wanted}, False)):
            clip = self._new_clip(indices)
            if self._read_groups(groups, clip, by_header) and not clip.missing:
                return clip
        return None

    def _read_groups(self, groups: dict[int, list[int]], clip: ClipBuffer, by_header: bool) -> bool:
        """Decode the requested frames; return whether they came in the order of their timestamps."""
        with open_container(self.path, by_header) as container, contextlib.suppress(av.InvalidDataError):
            stream = video_stream(container, self.table.stream_index)
            stream.codec_context.options = _BY_HEADER_OPTIONS if by_header else _OPTIONS
            for start, members in groups.items():
                if not self._decode_members(self._packets_from(start, container, stream), stream, members, clip):
                    return False
        return True

    def _packets_from(self, start: int, container: Any, stream: Any) -> Iterator[Any]:
        """Packets from that key frame on, none where seeking leads elsewhere. A file opens at its first frame."""
        if start == 0:
            return packets_of(container, stream)
        pts = self.table.timestamps_pts[start]
        container.seek(pts, stream=stream)
        packets = packets_of(container, stream)
        first = next(packets, None)
        return itertools.chain([first], packets) if first is not None and first.pts == pts else iter(())

    def _decode_members(self, packets: Iterator[Any], stream: Any, members: Sequence[int], clip: ClipBuffer) -> bool:
        """Decode what the members need and nothing else; having sent the last of them, have the decoder finish.

        Returns whether frames came in the order of their timestamps, which else do not tell one from another.
        """
        latest = -1
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
                    raise av.InvalidDataError(0, "the frame is corrupt")
                shown = self._index_of.get(frame.pts, latest)
                if shown < latest:
                    return False
                latest = shown
                if shown in members:
                    clip.put(shown, frame)
            if not to_send:
                break
        return True

    def _read_in_order(self, indices: Sequence[int]) -> ClipBuffer | None:
        """The clip, or None if packets turn out to be damaged."""
        num_damaged = 0

        def count_damage() -> None:
            nonlocal num_damaged
            num_damaged += 1

        clip = self._new_clip(indices)
        with open_container(self.path) as container:
            decoded = decode(container, video_stream(container, self.table.stream_index), count_damage)
            for index, frame in zip(range(max(indices) + 1), decoded, strict=False):
                clip.put(index, frame)
        is_known = num_damaged <= self.table.num_damaged_packets and not clip.missing
        return clip if is_known else None

    def _new_clip(self, indices: Sequence[int]) -> ClipBuffer:
        return ClipBuffer(self.path, indices, self._reformatter)

    @functools.cached_property
    def _index_of(self) -> dict[int, int]:
        return {pts: index for index, pts in enumerate(self.table.timestamps_pts)}

    @functools.cached_property
    def _droppable(self) -> frozenset[int | None]:
        return frozenset(self.table.droppable_frames)


def _by_start(wanted: Sequence[int], key_frames: Sequence[int]) -> dict[int, list[int]]:
    """Requested frames grouped by the last key frame before them, or by the first frame; both in ascending order."""
    groups: dict[int, list[int]] = {}
    for index in wanted:
        place = bisect.bisect_right(key_frames, index)
        groups.setdefault(key_frames[place - 1] if place else 0, []).append(index)
    return groups
