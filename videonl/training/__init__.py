"""Training and evaluation loops, with Lightning."""

from videonl.training.callbacks import FilmAttention, SeedSteps, UnreadableVideos, ValidationViews, WriteScores
from videonl.training.module import ClipModule
from videonl.training.optimisation import Optimisation

__all__ = [
    "ClipModule",
    "FilmAttention",
    "Optimisation",
    "SeedSteps",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
