"""Averages the scores of views to one score per video, for any number of processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from videonl.data.video import UNKNOWN, Label
from videonl.errors import UserError
from videonl.terminal import printable

Average = Literal["softmax", "logits", "sigmoid", "max"]
AVERAGES: tuple[Average, ...] = get_args(Average)
ONE_LABEL: tuple[Average, ...] = ("softmax", "logits")
"""Ways of averaging for one class for each video: probabilities sum to 1. The first is the default."""
SEVERAL_LABELS: tuple[Average, ...] = ("sigmoid", "max")
"""Ways for any number of classes for each video: each has a probability of its own. The first is the default."""


def average_for(ways: Sequence[Average], wanted: Average | None) -> Average:
    """How the views of a video are averaged: as wanted, or as its task does by default.

    Args:
        ways: :data:`ONE_LABEL` or :data:`SEVERAL_LABELS`.
        wanted: One of them; None for the first.

    Raises:
        UserError: It is of the other task.
    """
    if wanted is not None and wanted not in ways:
        raise UserError(f"average {wanted} has no meaning for this task; choose one of {', '.join(ways)}")
    return wanted or ways[0]


# Videos that are exchanged at once: all of them, with 30 views of 400 classes each, may be a gigabyte.
_PIECE = 256
T = TypeVar("T")


def average_views(logits: Tensor, average: Average = "softmax") -> Tensor:
    """Probabilities of a video from the logits of its views.

    Args:
        logits: (..., V, K).
        average: ``softmax`` takes the mean of the views' probabilities, ``logits`` the softmax of their mean logits;
            of several labels, ``sigmoid`` takes the mean of the views' sigmoids, ``max`` the largest one.

    Returns:
        (..., K) float64.
    """
    logits = logits.double()
    if average in SEVERAL_LABELS:
        each = logits.sigmoid()
        return each.mean(dim=-2) if average == "sigmoid" else each.amax(dim=-2)
    return logits.softmax(dim=-1).mean(dim=-2) if average == "softmax" else logits.mean(dim=-2).softmax(dim=-1)


@dataclass(frozen=True)
class VideoScore:
    """The scores of one video.

    Attributes:
        video: Index of the video in its data set.
        path: The file, as it is shown to people.
        label: Index of the true class, or those of all true classes; -1 when unknown.
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
    def is_finite(self) -> bool:
        """Whether its probabilities are finite; they are not if weights or features overflow."""
        return bool(self.probabilities.isfinite().all())

    @property
    def is_labeled(self) -> bool:
        """Whether its class, or classes, are known."""
        return self.label != UNKNOWN

    @property
    def labels(self) -> tuple[int, ...]:
        """The indices of the true classes."""
        if isinstance(self.label, tuple):
            return self.label
        return (self.label,) if self.is_labeled else ()

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

    def update(self, logits: Tensor, view: Tensor, video: Tensor, label: Tensor, path: Sequence[str]) -> None:
        """Adds videos, each with all of its views at once.

        Args:
            logits: One row per view, (V, K).
            view: The numbers of each view's clip and crop, (V, 2).
            video: The video that each view belongs to, (V,).
            label: Index of the true class for each view, (V,); of several labels, 1 for each true class and else 0,
                (V, K), or -1 where they are not known.
            path: The file of each view, V strings.
        """
        rows, numbers, views_of = logits.detach().float().cpu(), view.tolist(), video.tolist()
        for index in dict.fromkeys(views_of):
            places = [place for place, owner in enumerate(views_of) if owner == index]
            places.sort(key=lambda place: numbers[place])
            views = tuple((clip, crop) for clip, crop in (numbers[place] for place in places))
            first = places[0]
            name = printable(path[first])
            score = VideoScore(index, name, _label_of(label[first]), rows[places], views, self.average)
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


def _label_of(target: Tensor) -> Label:
    if target.ndim == 0:
        return int(target)
    return UNKNOWN if bool((target < 0).any()) else tuple(target.nonzero()[:, 0].tolist())


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
    """Probabilities (N, K) and labels of the given videos; see :func:`labels_of`."""
    return torch.stack([score.probabilities for score in scores]), labels_of(scores)


def labels_of(scores: Sequence[VideoScore]) -> Tensor:
    """The labels of the given videos: (N,), or of several labels 1 for each true class and else 0, (N, K)."""
    if scores[0].average not in SEVERAL_LABELS:
        return torch.tensor([score.label for score in scores])
    targets = torch.zeros(len(scores), scores[0].logits.shape[1], dtype=torch.int64)
    for row, score in zip(targets, scores, strict=True):
        row[list(score.labels)] = 1
    return targets
