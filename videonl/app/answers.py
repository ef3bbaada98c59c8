"""Computes what the page shows of a video."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image

from videonl.app.sheet import Sheet, lit, plain
from videonl.data.located_clip import read_middle_clip
from videonl.data.reading.decoding import DecodingError, open_video
from videonl.errors import UserError
from videonl.inference import Model
from videonl.inference.seeing import shown_clip
from videonl.terminal import printable

_SHOWN = 5  # classes
_MOST_WINDOWS = 120
_STRIDE_SECONDS = 0.5
_COLORS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2")


class Answers:
    """Computes the answers to the page's requests, for any video.

    Args:
        model: The network.
        num_clips: Clips whose scores are averaged for the top classes.
    """

    def __init__(self, model: Model, num_clips: int) -> None:
        self.model, self.num_clips = model, num_clips

    def classes(self, video: str) -> tuple[dict[str, float], str]:
        """The probabilities of the most probable classes, and the most probable one."""
        prediction = self.model.predict(video, num_clips=self.num_clips, num_crops=1)
        return dict(prediction.top(_SHOWN)), prediction.label

    def frames(self, video: str) -> Image.Image:
        """The frames of the middle clip, as a picture to click."""
        return plain(shown_clip(video, read_middle_clip(video, self.model.clip)))

    def timeline(self, video: str) -> Figure:
        """The probabilities of the most probable classes over time."""
        with open_video(video) as reader:
            stride = max(_STRIDE_SECONDS, reader.duration_seconds / _MOST_WINDOWS)
        found = self.model.timeline(video, stride_seconds=stride, progress=False)
        return self._chart(found.times.tolist(), torch.from_numpy(found.probabilities))

    def _chart(self, seconds: list[float], probabilities: torch.Tensor) -> Figure:
        figure = Figure(figsize=(8, 2.6), layout="constrained")
        axes = figure.subplots()
        best = probabilities.amax(dim=0).argsort(descending=True)[: len(_COLORS)].tolist()
        for color, index in zip(_COLORS, best, strict=False):
            name = printable(self.model.class_names[index]).replace("$", r"\$")  # which would begin a formula
            axes.plot(seconds, probabilities[:, index].tolist(), color=color, label=name, marker="o", markersize=3)
        axes.set(xlabel="seconds", ylabel="probability", ylim=(0, 1))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        return figure

    def attention(self, video: str, x: int, y: int) -> list[tuple[Image.Image, str]]:
        """The attention of every block at the clicked position.

        Args:
            video: The video.
            x: Column of the click in the picture of :meth:`frames`, in pixels.
            y: Row of the click, in pixels.

        Raises:
            UserError: The click is outside the frames, or the network has no attention to show.
        """
        clip = shown_clip(video, read_middle_clip(video, self.model.clip))
        query = Sheet(clip.size).position(x, y)
        if query is None:
            raise UserError("click on a frame, not beside it")
        frame, row, column = query
        where = f"attention of frame {frame}, y {row}, x {column}"
        maps = self.model.attention(video, query)
        return [(lit(maps.clip, shown), f"{block}: {where}") for block, shown in maps.items()]

    def evidence(self, video: str, class_name: str) -> Image.Image:
        """The Grad-CAM evidence for a class, over the frames of the clip."""
        maps = self.model.evidence(video, class_name)
        (shown,) = maps.values()
        return lit(maps.clip, shown)


def explained(answer: Callable[..., Any], problem: Callable[[str], Exception]) -> Callable[..., Any]:
    """Wraps an answer so that the page shows its errors.

    Args:
        answer: Takes a video, or None if there is none, as its first argument.
        problem: Makes the exception that replaces a UserError, from its message.
    """

    def explaining(video: str | None, *others: Any) -> Any:
        if video is None:
            raise problem("Upload a video first, or record one.")
        try:
            return answer(video, *others)
        except DecodingError as error:  # the folder on the server means nothing to the user
            raise problem(f"{Path(error.path).name}: {error.reason}") from error
        except UserError as error:
            raise problem(str(error).replace(video, Path(video).name)) from error

    return explaining
