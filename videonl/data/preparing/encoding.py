"""Re-encodes one video for training: small frames, many key frames, fast to decode; frame i stays frame i."""

import errno
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from videonl.data.indexing.exactness import spread
from videonl.data.preparing.resized_frames import SourceFacts, source_facts, timed, upright_frames
from videonl.data.reading.video_reader import DecodingError
from videonl.errors import MOST_FRAMES, MOST_PIXELS, UserError
from videonl.files import whole_path

_NUM_COMPARED = 5  # frames whose quality is measured
_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of writing that no other video is spared
_MAX_PSNR_DB = 100.0  # of identical frames, where the logarithm has no value


@dataclass(frozen=True)
class Encoding:
    """How videos are re-encoded, as H.264 in MP4, 8 bits, 4:2:0, without sound.

    Args:
        short_side_px: Length of the shorter side; smaller videos keep their size. Sides are rounded to even lengths.
        key_frame_every: Distance of key frames; a clip costs the decoding of what lies between the key frame before
            it and its end.
        crf: Constant rate factor of x264, from 0 (lossless) to 51.
        preset: Preset of x264: the slower, the smaller the files; they decode alike.
    """

    short_side_px: int = 256
    key_frame_every: int = 16
    crf: int = 20
    preset: str = "fast"

    def __post_init__(self) -> None:
        rules = {
            "short_side_px": (2 <= self.short_side_px <= MOST_PIXELS, f"from 2 to {MOST_PIXELS}"),
            "key_frame_every": (1 <= self.key_frame_every <= MOST_FRAMES, f"from 1 to {MOST_FRAMES}"),
            "crf": (0 <= self.crf <= 51, "from 0 to 51"),
            "preset": (self.preset in _PRESETS, f"one of {', '.join(_PRESETS)}"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise UserError(f"{name} must be {rule}, got {getattr(self, name)}")

    @property
    def options(self) -> dict[str, str]:
        """Options of the encoder. One thread: with more, the frames are divided up as the machine allows.

        Seven frames of eight are B pictures that no other refers to: readers that want few frames leave them out.
        """
        keys = f"keyint={self.key_frame_every}:min-keyint=1:scenecut=0:open-gop=0"
        return {
            "crf": str(self.crf),
            "preset": self.preset,
            "tune": "fastdecode",
            "threads": "1",
            "x264-params": f"{keys}:bframes=7:b-adapt=0:b-pyramid=none",
        }


class Encoded(NamedTuple):
    """What was written: the number of frames, and the PSNR of their brightness against what was encoded."""

    num_frames: int
    psnr_db: float


def encode(source: Path, target: Path, encoding: Encoding, num_frames: int, frames: range | None = None) -> Encoded:
    """Re-encode a video; the target appears whole, checked by decoding it, or not at all.

    Timestamps are kept, counted from the first frame. The display matrix is applied. Pixels stay as they are stored:
    their aspect ratio is kept in the header, fields of interlaced frames stay woven, and the frames are called
    progressive. The color matrix is kept and tagged.

    Args:
        source: A video file or folder of frames.
        target: The MP4 file to write.
        encoding: How.
        num_frames: How many frames the source has.
        frames: Which of them to encode; by default all. Its first one is then shown at 0.

    Raises:
        DecodingError: The source cannot be decoded to its end, has another number of frames, or the result differs.
        UserError: The target cannot be written.
    """
    expected = num_frames if frames is None else len(frames)
    with whole_path(target) as unfinished:
        try:
            references = _write(source, unfinished, encoding, set(spread(expected, _NUM_COMPARED)), frames)
            written, psnr_db = _compare(unfinished, references)
        except av.FFmpegError as error:
            if error.errno in _OF_THE_DISK:
                raise OSError(error.errno, error.strerror) from error
            raise DecodingError(source, f"cannot be re-encoded ({error.strerror or error})") from error
        if written != expected:
            raise DecodingError(source, f"decodes to {written} frames, but the index says {expected}; index it again")
    return Encoded(written, psnr_db)


def _write(
    source: Path, target: Path, encoding: Encoding, compared: set[int], frames: range | None
) -> dict[int, NDArray[np.uint8]]:
    """Encode, and return the brightness of the compared frames as it went into the encoder."""
    references: dict[int, NDArray[np.uint8]] = {}
    with av.open(
        str(target), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
    ) as container:
        stream: Any = None
        facts = source_facts(source)
        first = frames.start if frames else 0
        for index, frame in enumerate(timed(upright_frames(source, encoding.short_side_px, frames), facts, first)):
            if stream is None:
                stream = _add_stream(container, frame, facts, encoding)
            if index in compared:
                references[index] = _brightness(frame)
            container.mux(stream.encode(frame))
        if stream is None:
            raise DecodingError(source, "no frame could be decoded")
        container.mux(stream.encode(None))
    return references


def _add_stream(container: Any, first: Any, facts: SourceFacts, encoding: Encoding) -> Any:
    stream = container.add_stream("libx264", rate=facts.rate, options=encoding.options)
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
    stream.time_base = stream.codec_context.time_base = first.time_base
    if facts.pixel_aspect is not None:
        stream.codec_context.sample_aspect_ratio = facts.pixel_aspect
    stream.codec_context.colorspace, stream.codec_context.color_range = first.colorspace, first.color_range
    return stream


def _compare(path: Path, references: dict[int, NDArray[np.uint8]]) -> tuple[int, float]:
    """Decode what was written: its number of frames, and the PSNR over all compared ones together."""
    num_frames, errors = 0, []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if num_frames in references:
                difference = _brightness(frame).astype(np.float64) - references[num_frames]
                errors.append(float((difference**2).mean()))
            num_frames += 1
    mean = float(np.mean(errors)) if errors else 0.0
    return num_frames, min(_MAX_PSNR_DB, 10 * math.log10(255**2 / mean)) if mean else _MAX_PSNR_DB


def _brightness(frame: Any) -> NDArray[np.uint8]:
    planes: NDArray[np.uint8] = frame.to_ndarray(format="yuv420p")
    return planes[: frame.height].copy()
