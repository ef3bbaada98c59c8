"""What happens beside training and evaluation, one concern a file."""

from videonl.training.callbacks.evaluations import ValidationViews, WriteScores
from videonl.training.callbacks.films import FilmAttention
from videonl.training.callbacks.reading import UnreadableVideos
from videonl.training.callbacks.seeding import SeedSteps

__all__ = ["FilmAttention", "SeedSteps", "UnreadableVideos", "ValidationViews", "WriteScores"]
