"""What happens beside training and evaluation, one concern a file."""

from videonl.training.callbacks.checkpoints import LastCheckpoint
from videonl.training.callbacks.continuing import Continuation
from videonl.training.callbacks.ending import EndTogether
from videonl.training.callbacks.evaluations import ValidationViews, WriteScores
from videonl.training.callbacks.reading import UnreadableVideos
from videonl.training.callbacks.seeding import SeedSteps

__all__ = [
    "Continuation",
    "EndTogether",
    "LastCheckpoint",
    "SeedSteps",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
