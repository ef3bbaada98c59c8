"""Training and evaluation loops, with Lightning."""

from videonl.training.callbacks import (
    Continuation,
    EndTogether,
    FilmAttention,
    FreezeBackbone,
    KeepFrozenFeatures,
    LastCheckpoint,
    PreciseBatchNorm,
    SeedSteps,
    UnreadableVideos,
    ValidationViews,
    WriteScores,
)
from videonl.training.module import ClipModule
from videonl.training.optimization import Optimization

__all__ = [
    "ClipModule",
    "Continuation",
    "EndTogether",
    "FilmAttention",
    "FreezeBackbone",
    "KeepFrozenFeatures",
    "LastCheckpoint",
    "Optimization",
    "PreciseBatchNorm",
    "SeedSteps",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
