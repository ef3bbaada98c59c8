"""Averages the scores of views to one score per video, for any number of processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from videonl.errors import UserError
from videonl.evaluation.averaging import AVERAGES, Average, average_views, is_of_several
from videonl.terminal import printable

# Videos that are exchanged at once: all of them, with 30 views of 400 classes each, may be a gigabyte.
_PIECE = 256
T = TypeVar("T")
UNKNOWN = -1
Label: TypeAlias = int | tuple[int, ...]
"""A class, or several in rising order; -1 where it is not known."""


@dataclass(frozen=True)
class VideoScore:
    """The scores of one video.

    Attributes:
        video: Index of the video in its data set.
        path: The file, as it is shown to people.
        label: Index of the true class, or those of several, in rising order; -1 when unknown.
        logits: One row per view, (V, K) float32.
        views: The number of each view's clip and of its crop, from 0.
        average: How views are averaged.
    """

    video: int
    path: str
    label: Label
    logits: Tensor
    views: tuple[tuple[int, int], ...]
    average: Average = "softmax"

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities of every class, averaged over the views, (K,) float64."""
        return average_views(self.logits, self.average)

    @property
    def is_labeled(self) -> bool:
        """Whether the truth is known: a class, or which of several; none of them is known too."""
        return self.label != UNKNOWN

    @property
    def true_class(self) -> int:
        """The true class, where a video has one; -1 when unknown."""
        if isinstance(self.label, tuple):
            raise TypeError(f"{self.path} has several labels")
        return self.label

    @property
    def true_classes(self) -> tuple[int, ...]:
        """The true classes, in rising order; none when unknown."""
        return self.label if isinstance(self.label, tuple) else (self.label,) if self.is_labeled else ()

    @property
    def is_finite(self) -> bool:
        """Whether its probabilities are finite; they are not if weights or features overflow."""
        return bool(self.probabilities.isfinite().all())

    @property
    def prediction(self) -> int:
        """Index of the most probable class."""
        return int(self.probabilities.argmax())


class VideoScores:
    """Collects the logits of views, and videos that could not be read.

    Args:
        average: How the views of a video are averaged.
        known: Scores of this process to begin with.
        keep: Called with each score that is added.

    Raises:
        UserError: There is no such average.

    Examples:
        >>> import torch
        >>> scores = VideoScores()
        >>> logits, view = torch.tensor([[9.0, 0.0], [0.0, 9.0], [0.0, 9.0]]), torch.tensor([[0, 0], [0, 0], [1, 0]])
        >>> scores.update(logits, view, torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]), ["a.mp4", "b.mp4", "b.mp4"])
        >>> [score.prediction for score in scores.gather()]
        [0, 1]
    """

    def __init__(
        self,
        average: Average = "softmax",
        known: Iterable[VideoScore] = (),
        keep: Callable[[VideoScore], None] = lambda score: None,
    ) -> None:
        if average not in AVERAGES:
            raise UserError(f"unknown average {average!r}; choose one of {', '.join(AVERAGES)}")
        self.average = average
        self._scores = {score.video: score for score in known}
        self._keep = keep
        self._unreadable: dict[str, str] = {}

    def update(
        self, logits: Tensor, view: Tensor, video: Tensor, label: Tensor | Sequence[Label], path: Sequence[str]
    ) -> None:
        """Adds videos, each with all of its views at once.

        Args:
            logits: One row per view, (V, K).
            view: The numbers of each view's clip and crop, (V, 2).
            video: The video that each view belongs to, (V,).
            label: Index of the true class for each view, (V,), or a tuple of several for each.
            path: The file of each view, V strings.
        """
        rows, numbers, views_of = logits.detach().float().cpu(), view.tolist(), video.tolist()
        for index in dict.fromkeys(views_of):
            places = [place for place, owner in enumerate(views_of) if owner == index]
            places.sort(key=lambda place: numbers[place])
            views = tuple((clip, crop) for clip, crop in (numbers[place] for place in places))
            first = places[0]
            name = printable(path[first])
            score = VideoScore(index, name, _plain(label[first]), rows[places], views, self.average)
            self._scores[index] = score
            self._keep(score)

    def skip(self, unreadable: Mapping[str, str]) -> None:
        """Notes videos that have no score: the reason by the file."""
        self._unreadable |= unreadable

    def gather(self) -> list[VideoScore]:
        """Gathers the videos of all processes.

        Returns:
            One score per video, in the order of the data set, the same in every process.
        """
        everything = {score.video: score for score in _of_all_processes(list(self._scores.values()))}
        return [everything[video] for video in sorted(everything)]

    def gather_unreadable(self) -> dict[str, str]:
        """Gathers the unreadable videos of all processes: the reason by file, sorted, the same in every process."""
        return dict(sorted(_of_all_processes(list(self._unreadable.items()))))


def _plain(label: Tensor | Label) -> Label:
    return label if isinstance(label, tuple) else int(label)


def _of_all_processes(own: list[T]) -> Iterator[T]:
    if not (dist.is_available() and dist.is_initialized()):
        yield from own
        return
    most = max(_exchanged(len(own)))
    for start in range(0, most, _PIECE):
        for part in _exchanged(own[start : start + _PIECE]):
            yield from part


def _exchanged(own: T) -> list[T]:
    parts: list[T] = [own] * dist.get_world_size()
    dist.all_gather_object(parts, own)
    return parts


def require_finite(scores: Sequence[VideoScore]) -> None:
    """Rejects scores that are not finite, because they have no accuracy.

    Raises:
        UserError: Naming one of the videos, and what may be the matter.
    """
    if others := [score.path for score in scores if not score.is_finite]:
        raise UserError(
            f"the scores of {len(others)} of {len(scores)} videos, such as {others[0]}, are not finite, so there is no "
            "accuracy: the weights hold NaN, or values overflowed; use another checkpoint, or test in float32 "
            "(--trainer.precision 32)"
        )


def stack(scores: Sequence[VideoScore]) -> tuple[Tensor, Tensor]:
    """Probabilities (N, K) and labels (N,) of the given videos; of several labels, targets of 0 and 1, (N, K)."""
    probabilities = torch.stack([score.probabilities for score in scores])
    if not is_of_several(scores[0].average):
        return probabilities, torch.tensor([score.true_class for score in scores])
    targets = torch.zeros(probabilities.shape, dtype=torch.int64)
    for row, score in zip(targets, scores, strict=True):
        row[list(score.true_classes)] = 1
    return probabilities, targets
