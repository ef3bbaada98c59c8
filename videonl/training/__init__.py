"""Training and evaluation loops, with Lightning."""

from videonl.training.callbacks import (
    FilmAttention,
    FreezeBackbone,
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
    "FilmAttention",
    "FreezeBackbone",
    "Optimisation",
    "PreciseBatchNorm",
    "SeedSteps",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
