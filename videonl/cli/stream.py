"""``videonl stream SOURCE --checkpoint CKPT``: the classes of the newest clip of a camera or another stream."""

import json
import logging
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

from rich.live import Live
from rich.text import Text

from videonl.cli.configuration import expand
from videonl.cli.parsing import Parser
from videonl.cli.refusals import require_at_least
from videonl.errors import MOST_SECONDS, UserError
from videonl.inference import Model, Stream, StreamPrediction
from videonl.inference.capture import Streaming
from videonl.inference.loading import Precision, find_trained
from videonl.models.execution import keep_freed_memory_on
from videonl.terminal import Console, printable

_log = logging.getLogger(__name__)


def parse(words: list[str]) -> None:
    """Runs a command line, in which the source stands anywhere."""
    parser = Parser(prog="videonl stream")
    parser.add_argument("source", type=str, help="0 is the first camera; see below. Give - for standard input.")
    parser.add_argument("--config", action="config", help="A file of these options.")
    parser.add_function_arguments(stream, skip={"source"})
    given = parser.parse_args(expand(words, lambda path, content: None)).as_dict()
    stream(**{name: value for name, value in given.items() if name != "config"})


def stream(
    source: str,
    checkpoint: Path,
    stride_seconds: float = 0.5,
    top: int = 3,
    format: Literal["text", "jsonl"] = "text",
    realtime: bool = True,
    follow: bool = False,
    partial: bool = False,
    reconnect: bool = True,
    time_limit: float = 30,
    ffmpeg: list[str] = [],  # noqa: B006  # jsonargparse appends to a copy
    classes: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    trust_code: bool = False,
) -> None:
    """Prints the most probable classes of the newest clip of a stream, over and over, until it ends or Ctrl-C.

    Args:
        source: The index of a camera, a device, an address (rtsp, rtmp, srt, udp, http), a file, a named pipe, or
            - for standard input.
        checkpoint: A checkpoint of videonl fit, the folder of a run, converted weights, or a published name such as
            kinetics400/i3d_r50.
        stride_seconds: From one clip to the next. Where the network takes longer, clips are skipped and counted.
        top: How many classes to print.
        format: text is a line that is kept up to date; jsonl prints one JSON object per prediction.
        realtime: Read a file at the pace of its timestamps; false reads it as fast as the network follows, and skips
            nothing.
        follow: The file is still being written. It ends when nothing was added for the time limit.
        partial: Predict from the first frame on, which stands for those before it, instead of from the first whole
            clip on.
        reconnect: Open a camera or an address again after a fault, after 1, 2, 4 and at most 30 s.
        time_limit: Seconds that the source may give nothing. 0 sets no limit.
        ffmpeg: Options of FFmpeg for the source, such as framerate=30 video_size=1280x720 of a camera.
        classes: Names of the classes where the checkpoint has none: a file with one name per line, or kinetics400,
            kinetics600, kinetics700.
        device: cpu, cuda, cuda:1; auto takes the GPU where there is one.
        precision: float32, bfloat16, or float16 on a GPU; auto is float32.
        trust_code: Allow the checkpoint to run any code; only for files you trust.
    """
    require_at_least(1, top=top)
    require_at_least(0, MOST_SECONDS, time_limit=time_limit)
    options = _options(ffmpeg)
    streaming = Streaming(stride_seconds, realtime, follow, partial, reconnect, time_limit or None, options)
    model = Model(find_trained(checkpoint, classes, trust_code), device, precision)
    keep_freed_memory_on(model.recognizer.device)
    with Stream(model.recognizer, model.class_names, source, streaming) as opened:
        first = "the first frame" if partial else "the first whole clip"
        _log.info("%s: clips of %s; the first prediction follows %s", opened.name, model.clip.describe(), first)
        _show(opened, top, format)


def _options(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UserError(f"--ffmpeg takes NAME=VALUE, such as framerate=30; got {pair!r}")
    return dict(pair.split("=", 1) for pair in pairs)


def _show(opened: Stream, top: int, format: str) -> None:
    """Prints predictions to the end, and a summary then, however it comes."""
    console = Console()
    moves = format == "text" and console.is_terminal
    display: AbstractContextManager[Live | None] = Live(console=console, auto_refresh=False) if moves else nullcontext()
    latencies: list[float] = []
    try:
        with display as live:
            for prediction in opened:
                latencies.append(prediction.latency_seconds)
                if live is not None:
                    live.update(Text(line_of(prediction, top), no_wrap=True, overflow="ellipsis"), refresh=True)
                else:
                    print(line_of(prediction, top) if format == "text" else json_of(prediction, top), flush=True)
    finally:
        _log.info("%s", _summary(opened, latencies))


def line_of(prediction: StreamPrediction, top: int) -> str:
    """One line: when, what, how late, and what was dropped."""
    best = ", ".join(f"{name} {100 * probability:.1f} %" for name, probability in prediction.top(top))
    late = f"{1000 * prediction.latency_seconds:.0f} ms late"
    counts = prediction.counts
    dropped = f"{counts.dropped_frames} frames dropped" if counts.dropped_frames else ""
    skipped = f"{counts.skipped_clips} clips skipped" if counts.skipped_clips else ""
    parts = [f"{prediction.time_seconds:8.2f} s", best, late, skipped, dropped]
    return printable("  ".join(part for part in parts if part))


def json_of(prediction: StreamPrediction, top: int) -> str:
    """The same as a JSON object on one line."""
    return json.dumps(
        {
            "source": prediction.video,
            "start_seconds": prediction.start_seconds,
            "time_seconds": prediction.time_seconds,
            "top": [{"class": name, "probability": probability} for name, probability in prediction.top(top)],
            "latency_seconds": prediction.latency_seconds,
            **prediction.counts._asdict(),
        }
    )


def _summary(opened: Stream, latencies: Sequence[float]) -> str:
    counts = opened.counts
    late = f", {1000 * statistics.median(latencies):.0f} ms late in the median" if latencies else ""
    return (
        f"{opened.name}: {counts.frames} frames, {len(latencies)} predictions{late}; {counts.skipped_clips} clips "
        f"skipped, {counts.dropped_frames} frames dropped, {counts.reconnects} reconnects"
    )
