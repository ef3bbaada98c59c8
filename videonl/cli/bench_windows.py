"""``videonl bench windows``: windows of a long video beside the loops that people write, on a user's own file."""

import json as json_lines
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from videonl.benchmarks.report import machine
from videonl.benchmarks.windows import Job, Row, compare
from videonl.cli.bench import saying_if_busy
from videonl.cli.refusals import require_at_least, require_video
from videonl.data.reading.decoding import open_video
from videonl.data.reading.segment import named_place
from videonl.data.sampling import clip_span
from videonl.data.transforms import ClipFormat
from videonl.errors import MOST_ROUNDS, UserError
from videonl.inference import Recognizer
from videonl.models import ClipClassifier
from videonl.terminal import Console


def bench_windows(
    video: str,
    backbone: str = "i3d_r50",
    width: int | None = None,
    num_frames: int = 32,
    stride_frames: int = 2,
    short_side_px: int = 256,
    crop_px: int = 224,
    window_stride_frames: int = 8,
    num_windows: int = 20,
    rounds: int = 3,
    json: bool = False,
) -> None:
    """Times the scoring of overlapping windows against loops that read each window with PyAV and with decord.

    All sides run the same network, whose weights are drawn, on one window at a time, and take turns; the logits of
    PyAV's loop must be ours.

    Args:
        video: A video of an even frame rate.
        backbone: The network.
        width: Channels of its stem.
        num_frames: Frames of a window.
        stride_frames: Distance between them.
        short_side_px: Length of a frame's short side, resized.
        crop_px: Side of the center crop.
        window_stride_frames: From the start of a window to the next.
        num_windows: Windows in a round; as many as the video has, where it has fewer.
        rounds: Rounds that count, after one that does not.
        json: Print one JSON object a line instead of a table.
    """
    require_at_least(1, num_windows=num_windows, window_stride_frames=window_stride_frames)
    require_at_least(1, MOST_ROUNDS, rounds=rounds)
    clip = ClipFormat(num_frames, stride_frames, short_side_px, crop_px)
    recognizer = Recognizer(ClipClassifier(backbone, num_classes=400, width=width).eval(), clip)
    file = named_place(require_video(video))
    if not isinstance(file, Path):
        raise UserError(f"{video}: reading from disk is timed here; name a whole file of this machine")
    with open_video(file) as reader:
        most = (reader.num_frames - clip_span(num_frames, stride_frames)) // window_stride_frames + 1
    if most < 1:
        raise UserError(f"{video} is too short for one window of {clip.describe()}; give a longer one")
    job = Job(file, recognizer, window_stride_frames, min(most, num_windows))
    peers = ["pyav"] + ["decord"] * (find_spec("decord") is not None)
    console, rows = Console(), []
    with saying_if_busy():
        for row in compare(job, rounds, peers):
            rows.append(row)
            if json:
                print(json_lines.dumps(row.as_json()), flush=True)
    if not json:
        console.print(machine(), soft_wrap=True)
        console.print(_table(rows, f"{job.num_windows} windows of {clip.describe()}, {window_stride_frames} apart"))


def _table(rows: list[Row], title: str) -> Table:
    table = Table(title=title)
    for heading in ("against", "ratio", "ours, windows/s", "theirs", "logits differ by"):
        table.add_column(heading, justify="left" if heading == "against" else "right")
    for row in rows:
        rates = (f"{row.ours_windows_per_s:.2f}", f"{row.peer_windows_per_s:.2f}", f"{row.difference:.1e}")
        table.add_row(row.peer, "unstable" if row.ratio is None else f"[bold]{row.ratio:.2f}x[/bold]", *rates)
    return table
