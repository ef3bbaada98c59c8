"""Items that data sets return for a video, and batches of them.

Clips are uint8 ``(C, T, H, W)`` with the channels innermost in memory.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, final

import torch
from torch.utils.data import default_collate


class Failure(NamedTuple):
    """A video that could not be decoded, and why."""

    path: str
    reason: str


class TrainingItem(TypedDict):
    """Clips of one video: ``clip`` uint8 ``(R, C, T, H, W)``.

    ``video`` is the index drawn; ``failures`` are the videos that this one replaces.
    """

    clip: torch.Tensor
    video: int
    label: int
    failures: list[Failure]


class TrainingBatch(TypedDict):
    """Clips: ``clip`` uint8 ``(B, C, T, H, W)``, ``label`` int64 ``(B,)``, ``video`` the drawn index of each.

    With several clips per video, the first clips of all videos come first, then the second ones, and so on: neighbors,
    which mixup blends, are different videos.
    """

    clip: torch.Tensor
    video: list[int]
    label: torch.Tensor
    failures: list[Failure]


@final
class EvaluationItem(TypedDict):
    """All views of one video: ``clip`` uint8 ``(V, C, T, H, W)``, clip by clip, and crop by crop within a clip.

    ``view`` holds the number of each view's clip and of its crop.
    """

    clip: torch.Tensor
    view: list[tuple[int, int]]
    video: int
    label: int
    path: str


@final
class FailedItem(TypedDict):
    """A video that could not be decoded."""

    failures: list[Failure]


class EvaluationBatch(TypedDict):
    """Views of several videos: ``clip`` uint8 ``(sum of V, C, T, H, W)``; the rest has one entry per view.

    ``video`` (int64) is the index of the view's video in the data set, ``view`` (int64 ``(sum of V, 2)``) the numbers
    of its clip and crop.
    """

    clip: torch.Tensor
    view: torch.Tensor
    video: torch.Tensor
    label: torch.Tensor
    path: list[str]
    failures: list[Failure]


def collate_training(items: Sequence[TrainingItem]) -> TrainingBatch:
    """Join the clips of several videos, all of one shape and number, into a batch."""
    num_clips = len(items[0]["clip"])
    return {
        "clip": _stack([item["clip"][number] for number in range(num_clips) for item in items]),
        "video": [item["video"] for item in items] * num_clips,
        "label": torch.tensor([item["label"] for item in items], dtype=torch.int64).repeat(num_clips),
        "failures": [failure for item in items for failure in item["failures"]],
    }


def collate_evaluation(items: Sequence[EvaluationItem | FailedItem]) -> EvaluationBatch:
    """Join the views of several videos; where every video failed, ``clip`` has the shape ``(0, 3, 1, 1, 1)``."""
    failures = [failure for item in items if "failures" in item for failure in item["failures"]]
    good = [item for item in items if "clip" in item]
    per_view = [item for item in good for _ in range(len(item["clip"]))]
    return {
        "clip": _stack([view for item in good for view in item["clip"]]),
        "view": torch.tensor([view for item in good for view in item["view"]], dtype=torch.int64).view(-1, 2),
        "video": torch.tensor([item["video"] for item in per_view], dtype=torch.int64),
        "label": torch.tensor([item["label"] for item in per_view], dtype=torch.int64),
        "path": [item["path"] for item in per_view],
        "failures": failures,
    }


def _stack(clips: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stack ``(C, T, H, W)`` with the channels innermost; in a worker straight into the memory that is handed over."""
    if not clips:
        return torch.empty(0, 3, 1, 1, 1, dtype=torch.uint8)
    stacked: torch.Tensor = default_collate([clip.permute(1, 2, 3, 0) for clip in clips])
    return stacked.permute(0, 4, 1, 2, 3)  # (N, T, H, W, C) -> (N, C, T, H, W)
