"""Made-up evaluations whose every logit is known."""

from collections.abc import Callable, Sequence

import pytest
import torch

from videonl.evaluation import Average, EvaluationRecord, VideoScore


@pytest.fixture
def make_score() -> Callable[..., VideoScore]:
    """``make_score(video, label, logits)``: a video whose views are clips of one crop, or ``num_crops`` of them."""

    def make(
        video: int,
        label: int,
        logits: Sequence[Sequence[float]],
        num_crops: int = 1,
        path: str | None = None,
        average: Average = "softmax",
    ) -> VideoScore:
        views = tuple(divmod(place, num_crops) for place in range(len(logits)))
        return VideoScore(video, path or f"{video}.mp4", label, torch.tensor(logits).float(), views, average)

    return make


@pytest.fixture
def record(make_score: Callable[..., VideoScore]) -> EvaluationRecord:
    """31 videos of seven classes, 3 clips x 2 crops each, about half of them right; one could not be read."""
    generator = torch.Generator().manual_seed(3)
    scores = []
    for video in range(31):
        label = video * 5 % 7
        logits = torch.randn(6, 7, generator=generator)
        logits[:, label] += 0.9
        scores.append(make_score(video, label, logits.tolist(), num_crops=2))
    about = {"checkpoint": "best.ckpt", "views": "3 clips x 2 crops of 5 px"}
    return EvaluationRecord([f"class {index}" for index in range(7)], scores, about, {"bad.mp4": "the file is empty"})
