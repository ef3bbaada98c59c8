"""Training and evaluation loops, with Lightning."""

from videonl.training.callbacks import (
    Continuation,
    EndTogether,
    FilmAttention,
    FreezeBackbone,
    LastCheckpoint,
    PreciseBatchNorm,
    SeedSteps,
    UnreadableVideos,
    ValidationViews,
    WriteScores,
)
from videonl.training.module import ClipModule
from videonl.training.optimisation import Optimisation

__all__ = [
    "ClipModule",
    "Continuation",
    "EndTogether",
    "FilmAttention",
    "FreezeBackbone",
    "LastCheckpoint",
    "Optimisation",
    "PreciseBatchNorm",
    "SeedSteps",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
