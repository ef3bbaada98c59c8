"""The PyAV backend: exact on every format, and the reference for pixels."""

import bisect
import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import torch
from av.video.reformatter import VideoReformatter

from videonl.data.reading.clip_buffer import ClipBuffer, Pictures
from videonl.data.reading.container import decode, open_container, packets_of, video_stream
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.scan import decode_once, remember
from videonl.data.reading.video_reader import FewerFramesError, VideoReader

# FFmpeg mends damage with what it decoded before, which here is not all: rather have it complain.
_OPTIONS = {"err_detect": "explode"}
# H.264 may leave open how far pictures are reordered. FFmpeg then guesses on opening; without that, it drops pictures
# until it knows, or holds back as many as the standard allows.
_BY_HEADER_OPTIONS = {**_OPTIONS, "strict": "strict"}
# To decode that many frames that nobody wants costs no more than to seek.
_MOST_PASSED_OVER = 16


class _UnorderedError(Exception):
    """Frames do not come in the order of their timestamps."""


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
            self._count_anew()
            clip = self._read_in_order(indices)
        if clip is None:
            reason = f"frame {max(indices)} cannot be decoded: the file is damaged, {self.num_frames} frames are good"
            raise FewerFramesError(self.path, reason)
        return clip.clip()

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _pass_over(self, indices: Sequence[int]) -> Iterator[torch.Tensor]:
        """See :meth:`VideoReader.frames`: one decode, which seeks over gaps alone."""
        pictures = Pictures(self.path, VideoReformatter())  # its own: a pass may run in another thread than a read
        num_given = 0
        for num_given, frame in enumerate(self._found(indices), start=1):  # noqa: B007  # read after the loop
            yield pictures.picture(frame)
        if num_given < len(indices):
            self._count_anew()
            reason = f"is damaged at frame {indices[num_given]} or before; counted anew, {self.num_frames} are good"
            raise FewerFramesError(self.path, reason)

    def stored(self, indices: Sequence[int]) -> Iterator[Any]:
        """As :meth:`frames`, but as FFmpeg's frames, neither turned nor converted; ends early at damage."""
        return self._found(indices)

    def _found(self, indices: Sequence[int]) -> Iterator[Any]:
        """The frames wanted, as far as the file gives what the table says."""
        if not self.table.by_timestamp:
            yield from (frame for _, frame in self._in_order(indices))
            return
        num_found = 0
        # As in reading a clip: by seeking; then, where that leads elsewhere, from the first frame.
        for by_header in (True, False):
            rest = indices[num_found:]
            groups = _joined(_by_start(rest, self.table.key_frames)) if by_header else {0: rest}
            with contextlib.suppress(_UnorderedError):
                for index, frame in self._by_timestamp(groups, by_header) if rest else ():
                    if index != indices[num_found]:
                        break
                    num_found += 1
                    yield frame

    def _read_by_timestamp(self, indices: Sequence[int]) -> ClipBuffer | None:
        """The clip, or None if decoding does not give what the packets announce."""
        wanted = sorted(set(indices))
        # From the first frame where seeking leads elsewhere than the packets say.
        for groups, by_header in ((_by_start(wanted, self.table.key_frames), True), ({0: wanted}, False)):
            clip = self._new_clip(indices)
            with contextlib.suppress(_UnorderedError):
                for index, frame in self._by_timestamp(groups, by_header):
                    clip.put(index, frame)
                if not clip.missing:
                    return clip
        return None

    def _by_timestamp(self, groups: Mapping[int, Sequence[int]], by_header: bool) -> Iterator[tuple[int, Any]]:
        """Wanted frames, by the key frames that decoding starts at; ends early at damage.

        Raises:
            _UnorderedError: Frames do not come in the order of their timestamps, which then do not tell them apart.
        """
        with open_container(self.path, by_header) as container, contextlib.suppress(av.InvalidDataError):
            stream = video_stream(container, self.table.stream_index)
            stream.codec_context.options = _BY_HEADER_OPTIONS if by_header else _OPTIONS
            for start, members in groups.items():
                yield from self._decoded_members(self._packets_from(start, container, stream), stream, members)

    def _packets_from(self, start: int, container: Any, stream: Any) -> Iterator[Any]:
        """Packets from that key frame on, none where seeking leads elsewhere. A file opens at its first frame."""
        if start == 0:
            return packets_of(container, stream)
        pts = self.table.timestamps_pts[start]
        container.seek(pts, stream=stream)
        packets = packets_of(container, stream)
        first = next(packets, None)
        return itertools.chain([first], packets) if first is not None and first.pts == pts else iter(())

    def _decoded_members(
        self, packets: Iterator[Any], stream: Any, members: Sequence[int]
    ) -> Iterator[tuple[int, Any]]:
        """Decode what the members need and nothing else; having sent the last of them, have the decoder finish."""
        latest = -1
        wanted = frozenset(members)
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
                    raise _UnorderedError
                if shown > latest and shown in wanted:
                    yield shown, frame
                latest = shown
            if not to_send:
                break

    def _read_in_order(self, indices: Sequence[int]) -> ClipBuffer | None:
        """The clip, or None where packets are damaged that were not known to be."""
        clip = self._new_clip(indices)
        for index, frame in self._in_order(sorted(set(indices))):
            clip.put(index, frame)
        return None if clip.missing else clip

    def _in_order(self, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Wanted frames by counting all; ends early where packets are damaged that were not known to be."""
        num_damaged = 0

        def count_damage() -> None:
            nonlocal num_damaged
            num_damaged += 1

        rest = iter(wanted)
        index = next(rest)
        with open_container(self.path) as container:
            decoded = decode(container, video_stream(container, self.table.stream_index), count_damage)
            for count, frame in enumerate(decoded):
                if num_damaged > self.table.num_damaged_packets:
                    return
                if count == index:
                    yield index, frame
                    index = next(rest, -1)
                if index < 0:
                    return

    def _count_anew(self) -> None:
        self.table = decode_once(self.path, self.table)
        remember(self.path, self.table)

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


def _joined(groups: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """Groups of :func:`_by_start`, where those that lie close together are decoded on, without seeking."""
    joined: dict[int, list[int]] = {}
    members: list[int] = []
    for start, following in groups.items():
        if not members or start - members[-1] > _MOST_PASSED_OVER:
            members = joined[start] = []
        members += following
    return joined
