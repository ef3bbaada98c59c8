"""The facts about one video file, and whether all of it can be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import torch

from videonl.data.indexing.exactness import compared_frames, installed_backends, is_exact, spread, thumbnail
from videonl.data.indexing.fingerprint import content_hash, file_key
from videonl.data.indexing.index_file import IndexRow
from videonl.data.reading.container import (
    decode,
    find_video_stream,
    open_container,
    packets_of,
    pixel_aspect,
    video_stream,
)
from videonl.data.reading.decoding import open_video
from videonl.data.reading.fetching import NOT_FETCHED
from videonl.data.reading.frame_folder_reader import FrameFolderReader, numbers_are_consecutive
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.orientation import Orientation, orientation_of, upright
from videonl.data.reading.scan import counted, remember, table_of
from videonl.data.reading.shard_reader import at_hand
from videonl.data.reading.url_path import Where
from videonl.data.reading.video_reader import DecodingError, with_recount

Check = Literal["packets", "decode", "compare"]
CANNOT_BE_READ = "cannot be read"


class Task(NamedTuple):
    """A file to examine.

    Attributes:
        path: The file, here or at a URL, or folder of frames.
        check: ``packets`` reads every packet, and decodes the first, middle and last frame, so it believes the
            decoder's number of frames and misses damage elsewhere; ``decode`` decodes every frame; ``compare`` also
            compares what the installed decoders return with that.
    """

    path: Where
    check: Check = "compare"


class _Here(NamedTuple):
    """The same of a file on this machine."""

    path: Path
    check: Check


class _Decoded(NamedTuple):
    """What sequential decoding showed; ``thumbnails`` are those of the frames at which decoders are compared."""

    timestamps: list[Any]
    num_invalid: int
    key_frames: list[int]
    thumbnails: dict[int, torch.Tensor]
    damage: str


def examine(task: Task) -> IndexRow:
    """Collect the facts of an index about a file. Faults of the file are returned, not raised.

    A file at a URL is fetched into a temporary copy, which is examined as any other.
    """
    if isinstance(task.path, Path):
        return _examine(task.path, task.check)
    record = IndexRow(str(task.path), label="", checked=task.check)
    try:
        known = task.path.known()
        with at_hand(known) as copy:
            facts = _examine(copy, task.check)
    except FileNotFoundError:
        return replace(record, status="missing", reason="no such file")
    except OSError as error:
        return replace(record, status="broken", reason=f"{NOT_FETCHED} ({error})")
    return replace(facts, path=str(known), version=known.version, modified_ns=None)


def _examine(path: Path, check: Check) -> IndexRow:
    record, task = IndexRow(str(path), label="", checked=check), _Here(path, check)
    try:
        num_bytes, modified_ns = file_key(path)
        record = replace(record, num_bytes=num_bytes, modified_ns=modified_ns)
        _check_kind(path, num_bytes)
        record = replace(record, content_hash=content_hash(path))
        return _frame_folder_facts(record, task) if path.is_dir() else _video_facts(record, task)
    except FileNotFoundError:
        return replace(record, status="missing", reason="no such file")
    except DecodingError as error:
        return replace(record, status="broken", reason=error.reason)
    except (OSError, av.FFmpegError) as error:
        return replace(record, status="broken", reason=f"{CANNOT_BE_READ} ({error.strerror or error})")


def _check_kind(path: Path, num_bytes: int) -> None:
    if not (path.is_file() or path.is_dir()):
        raise DecodingError(path, "is neither a file nor a folder of frames")  # reading a pipe may never end
    if not num_bytes:
        raise DecodingError(path, "the folder is empty" if path.is_dir() else "the file is empty")


def _frame_folder_facts(record: IndexRow, task: _Here) -> IndexRow:
    reader = FrameFolderReader(task.path)
    indices = spread(reader.num_frames, 3) if task.check == "packets" else range(reader.num_frames)
    shapes = {tuple(reader.read([index]).shape[1:3]) for index in indices}
    if len(shapes) > 1:
        raise DecodingError(task.path, f"its images differ in size ({sorted(shapes)})")
    ((height, width),) = shapes
    whole = numbers_are_consecutive(reader.images)
    return replace(
        record,
        status="ok" if whole else "damaged",
        reason="" if whole else "the numbers of its images have gaps",
        container="frames",
        codec=reader.images[0].suffix.lower().lstrip("."),
        width=width,
        height=height,
        rotation=0,
        mirrored=False,
        interlaced=False,
        num_frames=reader.num_frames,
        key_frames=list(range(reader.num_frames)),
    )


def _video_facts(record: IndexRow, task: _Here) -> IndexRow:
    record, num_packets, orientation = _header_facts(record, task.path)
    try:
        record = _read_through(record, task, num_packets)
        if record.status != "ok":
            return record  # of damaged files it depends on what is read which frames they have
        return replace(record, frame_table=replace(table_of(task.path), orientation=orientation).to_text())
    except DecodingError as error:
        return replace(record, status="broken", reason=error.reason)


def _read_through(record: IndexRow, task: _Here, num_packets: int) -> IndexRow:
    if task.check == "packets":
        with open_video(task.path) as reader:
            with_recount(lambda: reader.read(spread(reader.num_frames, 3)))
            return _with_length(record, reader.table)
    backends = installed_backends() if task.check == "compare" else []
    decoded = _decode_all(task.path, compared_frames(num_packets) if backends else set())
    _correct_table(task.path, decoded)
    table = table_of(task.path)
    num_frames = len(decoded.timestamps)
    exact = [name for name in backends if is_exact(task.path, name, num_frames, decoded.thumbnails)]
    damage = decoded.damage or ("no decoder gives the frames of sequential decoding" if backends and not exact else "")
    return replace(
        _with_length(record, table),
        status="damaged" if damage else "ok",
        reason=damage,
        key_frames=decoded.key_frames,
        compared_backends=backends,
        exact_backends=exact,
    )


def _correct_table(path: Path, decoded: _Decoded) -> None:
    """If the packets announce other frames than decoding gave, keep the decoded ones."""
    table = table_of(path)
    is_right = table.num_frames == len(decoded.timestamps)
    if table.by_timestamp:
        is_right = list(table.timestamps_pts) == decoded.timestamps
    if not is_right:
        remember(path, counted(table, decoded.timestamps, decoded.num_invalid))


def _with_length(record: IndexRow, table: FrameTable) -> IndexRow:
    """By when frames are shown: a header's rate may be that of slots, of which AVI leaves some empty."""
    return replace(record, num_frames=table.num_frames, fps=table.fps, duration_seconds=table.duration_seconds)


def _header_facts(record: IndexRow, path: Path) -> tuple[IndexRow, int, Orientation]:
    """Facts from the container, its packets and the first frame; the number of packets; the orientation."""
    with _opened(path) as (container, stream):
        packets = [packet for packet in packets_of(container, stream) if packet.size]
        order = {
            pts: place for place, pts in enumerate(sorted(packet.pts for packet in packets if packet.pts is not None))
        }
        keys = [order.get(packet.pts, place) for place, packet in enumerate(packets) if packet.is_keyframe]
    with _opened(path) as (container, stream):
        first = next(decode(container, stream), None)
        if first is None:
            raise DecodingError(path, "has a video stream but no frame in it")
        orientation = orientation_of(first)
        aspect = pixel_aspect(stream, orientation.transposed)
        record = replace(
            record,
            container=container.format.name.split(",")[0],
            codec=stream.codec_context.name,
            width=first.height if orientation.transposed else first.width,
            height=first.width if orientation.transposed else first.height,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            pixel_aspect=f"{aspect.numerator}:{aspect.denominator}" if aspect else "",
            interlaced=bool(first.interlaced_frame),
            key_frames=sorted(keys),
        )
    return record, len(packets), orientation


def _decode_all(path: Path, wanted: set[int]) -> _Decoded:
    """Decode every frame in order, and keep the thumbnails of the wanted ones."""
    thumbnails, key_frames, layouts = {}, [], set()
    timestamps: list[Any] = []
    num_corrupt = num_invalid = 0

    def count_invalid() -> None:
        nonlocal num_invalid
        num_invalid += 1

    with _captured_errors() as errors, _opened(path) as (container, stream):
        for frame in decode(container, stream, count_invalid):
            orientation = orientation_of(frame)
            layouts.add((frame.width, frame.height, orientation))
            num_corrupt += frame.is_corrupt
            index = len(timestamps)
            if frame.key_frame:
                key_frames.append(index)
            if index in wanted:
                rgb = torch.from_numpy(frame.to_ndarray(format="rgb24", threads=1))
                thumbnails[index] = thumbnail(upright(rgb, orientation))
            timestamps.append(frame.pts)
    if not timestamps:
        raise DecodingError(path, "cannot be decoded (no frame of it is valid)")
    if len(layouts) > 1:
        sizes = sorted((width, height) for width, height, _ in layouts)
        raise DecodingError(path, f"its frames change size or orientation ({sizes}); re-encode it")
    damage = [f"the decoder reports {errors[0]!r}"] if errors else []
    damage += [f"{num_corrupt} frames are marked as corrupt"] if num_corrupt else []
    damage += [f"{num_invalid} packets hold no valid data"] if num_invalid else []
    return _Decoded(timestamps, num_invalid, key_frames, thumbnails, "; ".join(damage))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    with open_container(path) as container:
        yield container, video_stream(container, find_video_stream(path, container))


@contextmanager
def _captured_errors() -> Iterator[list[str]]:
    """Collect errors that FFmpeg logs: a decoder that conceals an error does not raise."""
    level, skips_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # the last file may have had the same error
    messages: list[str] = []
    try:
        with av.logging.Capture() as entries:
            yield messages
            messages += [f"{name}: {text.strip()}" for _, name, text in entries]
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips_repeated)
