"""What the page shows of a video."""

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
    """Answers what the page asks about one video after the other.

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
        """The frames of the middle clip, to click."""
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
        """Of each block what the clicked position attends to.

        Args:
            video: The video.
            x: Where the picture of :meth:`frames` was clicked.
            y: Likewise.

        Raises:
            UserError: The network has no attention to show.
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
        """Where the clip speaks for a class."""
        maps = self.model.evidence(video, class_name)
        (shown,) = maps.values()
        return lit(maps.clip, shown)


def explained(answer: Callable[..., Any], problem: Callable[[str], Exception]) -> Callable[..., Any]:
    """An answer whose complaints the page shows.

    Args:
        answer: Its first argument is a video, or None where there is none.
        problem: What is raised instead of a UserError.
    """

    def explaining(video: str | None, *others: Any) -> Any:
        if video is None:
            raise problem("Upload a video first, or record one.")
        try:
            return answer(video, *others)
        except DecodingError as error:  # the server's own name of the file is of no use to anybody
            raise problem(f"{Path(error.path).name}: {error.reason}") from error
        except UserError as error:
            raise problem(str(error).replace(video, Path(video).name)) from error

    return explaining
