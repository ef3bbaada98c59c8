"""Training and evaluation loops, with Lightning."""

from videonl.training.callbacks import (
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
    "FreezeBackbone",
    "Optimisation",
    "PreciseBatchNorm",
    "SeedSteps",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
