"""What happens beside training and evaluation, one concern a file."""

from videonl.training.callbacks.evaluations import ValidationViews, WriteScores
from videonl.training.callbacks.freezing import FreezeBackbone
from videonl.training.callbacks.precise_bn import PreciseBatchNorm
from videonl.training.callbacks.reading import UnreadableVideos
from videonl.training.callbacks.seeding import SeedSteps

__all__ = [
    "FreezeBackbone",
    "PreciseBatchNorm",
    "SeedSteps",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
