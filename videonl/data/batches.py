"""Items that data sets return for a video, and batches of them.

Clips are uint8 ``(C, T, H, W)`` with the channels innermost in memory.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypedDict, final

import torch
from torch.utils.data import get_worker_info


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
    label: int | torch.Tensor
    failures: list[Failure]


class TrainingBatch(TypedDict):
    """Clips: ``clip`` uint8 ``(B, C, T, H, W)``, ``label`` int64 ``(B,)``, ``video`` the drawn index of each.

    Of a task of several labels ``label`` is float32 ``(B, K)``, 1 for each true class and else 0.

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
    label: int | torch.Tensor
    path: str


@final
class FailedItem(TypedDict):
    """A video that could not be decoded."""

    failures: list[Failure]


class EvaluationBatch(TypedDict):
    """Views of several videos: ``clip`` uint8 ``(sum of V, C, T, H, W)``; the rest has one entry per view.

    ``video`` (int64) is the index of the view's video in the data set, ``view`` (int64 ``(sum of V, 2)``) the numbers
    of its clip and crop. ``label`` is int64 ``(sum of V,)``, of several labels float32 ``(sum of V, K)``; unknown ones
    are -1.
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
        "clip": _batch([item["clip"][number] for number in range(num_clips) for item in items]),
        "video": [item["video"] for item in items] * num_clips,
        "label": torch.cat([_labels([item["label"] for item in items])] * num_clips),
        "failures": [failure for item in items for failure in item["failures"]],
    }


def collate_evaluation(items: Sequence[EvaluationItem | FailedItem]) -> EvaluationBatch:
    """Join the views of several videos; where every video failed, ``clip`` has the shape ``(0, 3, 1, 1, 1)``."""
    failures = [failure for item in items if "failures" in item for failure in item["failures"]]
    good = [item for item in items if "clip" in item]
    per_view = [item for item in good for _ in range(len(item["clip"]))]
    return {
        "clip": _batch([view for item in good for view in item["clip"]]),
        "view": torch.tensor([view for item in good for view in item["view"]], dtype=torch.int64).view(-1, 2),
        "video": torch.tensor([item["video"] for item in per_view], dtype=torch.int64),
        "label": _labels([item["label"] for item in per_view]),
        "path": [item["path"] for item in per_view],
        "failures": failures,
    }


def _labels(labels: Sequence[int | torch.Tensor]) -> torch.Tensor:
    several = [label for label in labels if isinstance(label, torch.Tensor)]
    return torch.stack(several) if several else torch.tensor(labels, dtype=torch.int64)


def stack(clips: Sequence[torch.Tensor], shared: bool = False) -> torch.Tensor:
    """Stack clips, with the channels innermost in memory.

    Args:
        clips: ``(C, T, H, W)`` each.
        shared: Straight into memory that another process can be handed.

    Returns:
        ``(N, C, T, H, W)``.
    """
    size, dtype = (len(clips), *clips[0].shape), clips[0].dtype
    strides = torch.empty(size, device="meta", memory_format=torch.channels_last_3d).stride()
    memory = torch.empty(0, dtype=dtype)
    if shared:  # as torch's own collation does it; share_memory_() would copy what is not there yet
        memory.set_(torch.UntypedStorage._new_shared(math.prod(size) * dtype.itemsize))
    return torch.stack(list(clips), out=memory.resize_(math.prod(size)).as_strided(size, strides))


def _batch(clips: Sequence[torch.Tensor]) -> torch.Tensor:
    return stack(clips, get_worker_info() is not None) if clips else torch.empty(0, 3, 1, 1, 1, dtype=torch.uint8)
