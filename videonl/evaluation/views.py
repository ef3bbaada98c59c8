"""From the scores of views to one score per video, whatever the number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class VideoScore:
    """The score of one video.

    Attributes:
        video: Index of the video in its data set.
        path: The file, as it is shown to people.
        label: Index of the true class, or -1 when unknown.
        probabilities: Softmax averaged over the video's views, (K,) float64.
    """

    video: int
    path: str
    label: int
    probabilities: Tensor


class VideoScores:
    """Collects the logits of views and averages their softmax per video.

    Example:
        >>> import torch
        >>> scores = VideoScores()
        >>> logits = torch.tensor([[9.0, 0.0], [0.0, 9.0], [0.0, 9.0]])
        >>> scores.update(logits, torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]), ["a.mp4", "b.mp4", "b.mp4"])
        >>> [(score.path, score.probabilities.argmax().item()) for score in scores.gather()]
        [('a.mp4', 0), ('b.mp4', 1)]
    """

    def __init__(self) -> None:
        self._scores: dict[int, VideoScore] = {}

    def update(self, logits: Tensor, video: Tensor, label: Tensor, path: Sequence[str]) -> None:
        """Adds videos, each with all of its views at once.

        Args:
            logits: One row per view, (V, K).
            video: The video that each view belongs to, (V,).
            label: Index of the true class for each view, (V,).
            path: The file of each view, V strings.
        """
        probabilities = logits.detach().double().softmax(dim=-1).cpu()
        views_of = video.cpu()
        for index in views_of.unique().tolist():
            views = views_of == index
            first = int(views.nonzero()[0])
            mean = probabilities[views].mean(dim=0)
            self._scores[index] = VideoScore(index, path[first], int(label[first]), mean)

    def gather(self) -> list[VideoScore]:
        """Brings together the videos of all processes.

        Returns:
            One score per video, in the order of the data set, the same in every process.
        """
        parts: list[dict[int, VideoScore] | None] = [self._scores]
        if dist.is_available() and dist.is_initialized():
            parts = [None] * dist.get_world_size()
            dist.all_gather_object(parts, self._scores)
        everything = {video: score for part in parts if part is not None for video, score in part.items()}
        return [everything[video] for video in sorted(everything)]


def stack(scores: Sequence[VideoScore]) -> tuple[Tensor, Tensor]:
    """Probabilities (N, K) and labels (N,) of the given videos."""
    probabilities = torch.stack([score.probabilities for score in scores])
    return probabilities, torch.tensor([score.label for score in scores])
