"""Videos that are decoded in another process, which is ended when a file hangs in the decoder."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from typing_extensions import Self

from videonl.data.reading.decoding import open_video
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.segment import Place, whole_of
from videonl.data.reading.video_reader import DecodingError, FewerFramesError, VideoReader
from videonl.runtime.parallel import safe_context
from videonl.runtime.time_limit import EndedCallError, TimeLimited

_Step: TypeAlias = tuple[Literal["open", "facts", "read", "begin", "next"], Any]


class LimitedDecoding:
    """Opens videos in a process of its own, one at a time, with a time limit for each step. Linux only.

    The process starts with the first video, without a fork of this process, which may have threads. A script must
    guard its main part.

    Args:
        seconds: How long opening a video, which lists its frames, or decoding the next frame may take.
        decoder: A name in ``decoding.DECODERS``.

    Examples:
        >>> with LimitedDecoding(60) as decoding, decoding.open(Path("a.mp4")) as reader:  # doctest: +SKIP
        ...     first = reader.read([0])
    """

    def __init__(self, seconds: float, decoder: str = "auto") -> None:
        self._limited = TimeLimited(_Decoding(decoder), seconds, lambda: safe_context(__name__))

    def open(self, place: Place, known: FrameTable | None = None) -> "LimitedReader":
        """As :func:`videonl.data.reading.decoding.open_video`; closes the video that was opened before."""
        return LimitedReader(self._limited, place, known)

    def close(self) -> None:
        """Ends the process."""
        self._limited.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Facts(NamedTuple):
    """What a reader says of its video."""

    name: str
    table: FrameTable
    fps: float
    duration_seconds: float
    timestamps_seconds: torch.Tensor


class LimitedReader(VideoReader):
    """Reads a video through another process; a step that takes too long is a :class:`DecodingError`.

    Args:
        limited: The process.
        place: The video.
        known: Its frame table from an earlier scan.
    """

    def __init__(self, limited: TimeLimited[_Step], place: Place, known: FrameTable | None) -> None:
        self._limited, self._place = limited, place
        self.path = Path(str(whole_of(place)))
        self._learn("open", (place, known))

    @property
    def name(self) -> str:
        """See :class:`VideoReader`."""
        return self._facts.name

    @property
    def num_frames(self) -> int:
        """See :class:`VideoReader`."""
        return len(self.timestamps_seconds)

    @property
    def fps(self) -> float:
        """See :class:`VideoReader`."""
        return self._facts.fps

    @property
    def duration_seconds(self) -> float:
        """See :class:`VideoReader`."""
        return self._facts.duration_seconds

    @property
    def timestamps_seconds(self) -> torch.Tensor:
        """See :class:`VideoReader`."""
        return self._facts.timestamps_seconds

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """See :meth:`VideoReader.read`."""
        self._check_indices(indices)
        return self._ask("read", list(indices))

    def close(self) -> None:
        """The next video that is opened, or the end of the process, closes it."""

    def _pass_over(self, indices: Sequence[int]) -> Iterator[torch.Tensor]:
        self._ask("begin", list(indices))
        for _ in indices:
            yield self._ask("next")

    def _learn(self, step: Literal["open", "facts"], argument: Any = None) -> None:
        self._facts: _Facts = pickle.loads(self._ask(step, argument).numpy().tobytes())
        self.table = self._facts.table

    def _ask(self, step: Literal["open", "facts", "read", "begin", "next"], argument: Any = None) -> torch.Tensor:
        try:
            return self._limited((step, argument))
        except FewerFramesError:
            self._learn("facts")
            raise
        except EndedCallError as ended:
            raise DecodingError(str(self._place), str(ended)) from ended


class _Decoding:
    """The other side, which keeps a video and a pass over its frames from call to call."""

    def __init__(self, decoder: str) -> None:
        self.decoder = decoder
        self._reader: VideoReader | None = None
        self._frames: Iterator[torch.Tensor] = iter(())

    def __call__(self, key: _Step) -> torch.Tensor:
        step, argument = key
        if step == "open":
            self._open(*argument)
        assert self._reader is not None  # else the process died with it, and so did the pass
        if step == "read":
            return self._reader.read(argument)
        if step == "next":
            return next(self._frames)
        if step == "begin":
            self._frames = self._reader.frames(argument)
            return torch.empty(0, dtype=torch.uint8)
        return _packed(self._reader)

    def _open(self, place: Place, known: FrameTable | None) -> None:
        self._frames = iter(())
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._reader = open_video(place, self.decoder, known)


def _packed(reader: VideoReader) -> torch.Tensor:
    facts = _Facts(reader.name, reader.table, reader.fps, reader.duration_seconds, reader.timestamps_seconds)
    return torch.frombuffer(bytearray(pickle.dumps(facts)), dtype=torch.uint8)
