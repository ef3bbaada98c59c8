"""Timelines: the probabilities of classes over a long video, window by window."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from videonl.data.reading.video_reader import with_recount
from videonl.errors import UserError
from videonl.evaluation import Average
from videonl.evaluation.about import describe_network
from videonl.evaluation.views import average_views
from videonl.inference.recognizer import Recognizer
from videonl.inference.sliding import scored
from videonl.inference.videos import VideoLike, is_frames, open_any
from videonl.inference.windows import Window, Windows, require_dense
from videonl.visualization.timeline import Segment, Timeline

__all__ = ["STRIDE_SECONDS", "Segment", "Timeline", "timeline_of"]

STRIDE_SECONDS = 0.5
IN_MEMORY = "decoded frames"  # what a timeline without a file calls its video
Progress: TypeAlias = Callable[[int, int], None]


def timeline_of(
    recognizer: Recognizer,
    class_names: Sequence[str],
    video: VideoLike,
    *,
    stride_seconds: float = STRIDE_SECONDS,
    num_crops: int = 1,
    average: Average = "softmax",
    decoder: str = "auto",
    fps: float | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    time_limit_seconds: float | None = None,
) -> Timeline:
    """Scores windows over a whole video; each frame is decoded once.

    Args:
        recognizer: Scores the windows; its clip format says how long they are.
        class_names: Names in the order of the logits.
        video: A video file or its URL, a folder of frames, or decoded frames, uint8 RGB (T, H, W, 3).
        stride_seconds: Time from the start of a window to the next; the last window ends with the video.
        num_crops: Crops of each window, evenly spaced along the longer side.
        average: What is averaged over the crops: ``softmax`` or ``logits``.
        decoder: Who decodes a file.
        fps: Of decoded frames.
        batch_size: Windows in one forward pass; by default one on a CPU, where the probabilities are then those of each
            window alone to the bit, and as many as make 8 views on a GPU.
        progress: Is told the number of windows scored, and of all.
        time_limit_seconds: How long opening a file or decoding its next frame may take; see ``videos.opening``.

    Raises:
        UserError: The clip format has another sampling than dense, the video is shorter than a window, there are
            more or fewer names than classes, or scores are not finite.
        DecodingError: The video cannot be read.
    """

    def scores() -> list[tuple[Window, Tensor]]:
        windows = Windows.every_seconds(reader, recognizer.clip, stride_seconds, num_crops)
        found = []
        for window, logits in scored(recognizer, windows, batch_size):
            found.append((window, average_views(logits.float().cpu(), average)))
            if progress is not None:
                progress(len(found), len(windows))
        return found

    require_dense(recognizer.clip)
    with open_any(video, decoder, fps, time_limit_seconds) as reader:
        windows, rows = zip(*with_recount(scores), strict=True)
        duration_seconds, rate = reader.duration_seconds, reader.fps
    name = IN_MEMORY if is_frames(video) else os.path.expanduser(str(video))
    return Timeline(
        name,
        list(class_names),
        np.array([window.center_seconds for window in windows]),
        np.array([(window.start_seconds, window.end_seconds) for window in windows]),
        _sound(torch.stack(rows), class_names, name).numpy(),
        duration_seconds,
        rate,
        _about(recognizer, stride_seconds, num_crops),
    )


def _about(recognizer: Recognizer, stride_seconds: float, num_crops: int) -> Mapping[str, str]:
    crops = f", {num_crops} crops of each" if num_crops > 1 else ""
    windows = f"every {stride_seconds:g} s{crops}"
    return {**describe_network(recognizer.network), "clip": recognizer.clip.describe(), "windows": windows}


def _sound(probabilities: Tensor, class_names: Sequence[str], name: str) -> Tensor:
    if probabilities.shape[1] != len(class_names):
        raise UserError(
            f"there are {len(class_names)} class names, and the network has {probabilities.shape[1]} classes"
        )
    if not probabilities.isfinite().all():
        raise UserError(
            f"the scores of {name} are not finite: the network's weights hold NaN, or numbers became too large"
        )
    return probabilities
