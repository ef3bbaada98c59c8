"""Opening video files with PyAV: the stream that holds the video, its packets, and its frames in order."""

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from videonl.data.reading.video_reader import DecodingError, check_exists

ATTACHED_PICTURE = 1024  # AV_DISPOSITION_ATTACHED_PIC
# By default FFmpeg reads and decodes some of every stream on opening, which takes as long as decoding a short clip.
# These let it do neither; decoders that are opened later know no list.
_HEADER_ALONE = {"probesize": "32", "codec_whitelist": "none"}
# Where the header says all that is needed: packets are the same, and the decoder finds the rest in the pictures.
_TELLING_CONTAINERS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"))
_TELLING_CODECS = frozenset(("h264", "hevc", "av1", "vp8", "vp9"))
# From PyAV 19 on nothing need be said: it keeps bytes that are no UTF-8.
_ANY_METADATA: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}


@contextlib.contextmanager
def open_container(path: Path, by_header: bool = False) -> Iterator[Any]:
    """Open a file, and turn every error of FFmpeg while it is open into a DecodingError.

    Args:
        path: The video file.
        by_header: Do not look into the streams where the header tells enough to list packets. A decoder then starts
            without FFmpeg's guess of how far pictures are reordered.
    """
    check_exists(path)
    try:
        with _open(path, by_header) as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        raise DecodingError(path, f"cannot be decoded ({error.strerror or error})") from error


def _open(path: Path, by_header: bool) -> Any:
    if by_header:
        with contextlib.suppress(av.FFmpegError):
            container = open_file(path, options=_HEADER_ALONE)
            if _header_tells(container):
                return container
            container.close()
    return open_file(path)


def open_file(file: Any, **options: Any) -> Any:
    """``av.open`` of a path, an address, or an object to read from, whatever the encoding of titles and the like."""
    return av.open(file if hasattr(file, "read") else str(file), **_ANY_METADATA, **options)


def _header_tells(container: Any) -> bool:
    return container.format.name in _TELLING_CONTAINERS and all(
        stream.codec_context is not None
        and stream.codec_context.codec.canonical_name in _TELLING_CODECS
        and stream.average_rate
        for stream in container.streams.video
    )


def find_video_stream(path: Path, container: Any) -> int:
    """Index of the first video stream that decodes; pictures attached to sound do not count.

    Raises:
        DecodingError: There is none.
    """
    candidates = [
        stream.index
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & ATTACHED_PICTURE
    ]
    if len(candidates) == 1:
        return int(candidates[0])
    for index in candidates:
        with open_container(path) as probe:
            if next(decode(probe, video_stream(probe, index)), None) is not None:
                return int(index)
    raise DecodingError(path, "has no video stream that can be decoded")


def video_stream(container: Any, index: int) -> Any:
    """The stream of that index, decoding in the calling thread alone: the loader's processes are the parallelism."""
    stream = container.streams[index]
    stream.thread_type = "NONE"
    return stream


def pixel_aspect(stream: Any, transposed: bool) -> Fraction | None:
    """Width over height of a pixel as it is shown (sample aspect ratio); None of square ones, or where nothing says.

    Args:
        stream: The video.
        transposed: Whether rows of the stored frames are shown as columns.
    """
    ratio = stream.sample_aspect_ratio
    if not ratio or ratio == 1:
        return None
    return 1 / Fraction(ratio) if transposed else Fraction(ratio)


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """Packets in decoding order and the empty one that flushes the decoder; data that is no packet ends the file."""
    # PyAV loses memory, a little, where its iterator is left before the end and not closed.
    with contextlib.closing(container.demux(stream)) as packets:
        while True:
            try:
                packet = next(packets, None)
            except av.InvalidDataError:
                return
            if packet is None:
                return
            yield packet


def decode(container: Any, stream: Any, on_damage: Callable[[], None] = lambda: None) -> Iterator[Any]:
    """Frames in the order in which FFmpeg gives them, without those of packets that hold no valid data.

    That is what the ``ffmpeg`` command does. Any other error (reading the file, a feature FFmpeg lacks) is raised.

    Args:
        container: The open file.
        stream: Its video.
        on_damage: Called for every packet that cannot be decoded.
    """
    for packet in packets_of(container, stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            on_damage()
            continue
        yield from frames
