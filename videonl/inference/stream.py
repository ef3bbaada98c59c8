"""A network on a stream: the newest clip of a camera, an address, a pipe or a file, over and over."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from typing_extensions import Self

from videonl.data.reading.live import find_source
from videonl.evaluation import Average
from videonl.inference.capture import Capture, Counts, Streaming
from videonl.inference.prediction import Prediction
from videonl.inference.recognizer import Recognizer
from videonl.inference.rolling import LiveFrame
from videonl.inference.seeing import finite
from videonl.inference.windows import require_dense


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamPrediction(Prediction):
    """The classes that a network sees in the newest clip of a stream.

    Attributes:
        frames: The number of each frame of the clip in the stream, from 0; they repeat where there are no more.
        start_seconds: When the first frame of the clip is shown; the first frame of the stream at 0.
        time_seconds: When the last one is.
        latency_seconds: From the last frame's arrival to the prediction.
        counts: What happened to the stream so far.
    """

    frames: tuple[int, ...]
    start_seconds: float
    time_seconds: float
    latency_seconds: float
    counts: Counts

    @property
    def dropped_frames(self) -> int:
        """Frames so far that a clip was due to have, and that no clip had."""
        return self.counts.dropped_frames


class Stream(Iterator[StreamPrediction]):
    """Predictions of a stream as it comes; close it, or leave its ``with`` block, to release the source.

    Args:
        recognizer: Scores the clips.
        class_names: Names in the order of the logits.
        source: The index of a camera, a device, an address, a file, a named pipe, or ``-`` for standard input.
        streaming: How it is read.
        average: What the logits mean: ``softmax``, or of several labels ``sigmoid``.

    Attributes:
        name: What the source is called, without a password.

    Raises:
        UserError: There is no such source, or the network does not take clips of consecutive frames.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        class_names: Sequence[str],
        source: int | str | Path,
        streaming: Streaming,
        average: Average = "softmax",
    ) -> None:
        require_dense(recognizer.clip)
        found = find_source(source, streaming.follow)
        self.name = found.name
        self._recognizer, self._class_names, self._average = recognizer, class_names, average
        self._capture = Capture(found, recognizer.clip, streaming)

    @property
    def counts(self) -> Counts:
        """What happened so far."""
        return self._capture.handover.counts

    def __next__(self) -> StreamPrediction:
        """The prediction of the newest clip, as soon as there is one.

        Raises:
            DecodingError: The source cannot be read, or gave nothing for too long.
            UserError: Scores are not finite.
        """
        clip = self._capture.handover.take()
        if clip is not None:
            return self._predicted(clip)
        error, self._capture.error = self._capture.error, None
        self.close()
        if error is not None:
            raise error
        raise StopIteration

    def _predicted(self, clip: tuple[LiveFrame, ...]) -> StreamPrediction:
        views = torch.stack([frame.pixels for frame in clip])[None].permute(0, 4, 1, 2, 3)  # (1, T, H, W, C)
        logits = finite(self._recognizer.logits(views), self.name)
        return StreamPrediction(
            self.name,
            self._class_names,
            logits,
            ((0, 0),),
            self._average,
            frames=tuple(frame.number for frame in clip),
            start_seconds=clip[0].seconds,
            time_seconds=clip[-1].seconds,
            latency_seconds=time.monotonic() - clip[-1].arrived,
            counts=self.counts,
        )

    def close(self) -> None:
        """Ends the stream. A source that FFmpeg waits for ends when it gives something, or at its time limit."""
        self._capture.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_capture"):
            self.close()
