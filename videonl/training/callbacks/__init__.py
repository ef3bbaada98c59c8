"""What happens beside training and evaluation, one concern a file."""

from videonl.training.callbacks.artifacts import Artifacts
from videonl.training.callbacks.best import BestCheckpoint
from videonl.training.callbacks.block_diagnostics import BlockDiagnostics
from videonl.training.callbacks.checkpoints import LastCheckpoint
from videonl.training.callbacks.continuing import Continuation
from videonl.training.callbacks.ending import EndTogether
from videonl.training.callbacks.evaluation_logs import EvaluationLogs
from videonl.training.callbacks.evaluations import ValidationViews, WriteScores
from videonl.training.callbacks.films import FilmAttention
from videonl.training.callbacks.freezing import FreezeBackbone
from videonl.training.callbacks.frozen_features import KeepFrozenFeatures
from videonl.training.callbacks.multigrid_shapes import MultigridShapes
from videonl.training.callbacks.precise_bn import PreciseBatchNorm
from videonl.training.callbacks.progress import TrainingBar
from videonl.training.callbacks.progress_lines import ProgressLines
from videonl.training.callbacks.seeding import SeedSteps
from videonl.training.callbacks.throughput import Throughput
from videonl.training.callbacks.unfinished_scores import UnfinishedScores
from videonl.training.callbacks.unreadable_videos import UnreadableVideos

__all__ = [
    "Artifacts",
    "BestCheckpoint",
    "BlockDiagnostics",
    "Continuation",
    "EndTogether",
    "EvaluationLogs",
    "FilmAttention",
    "FreezeBackbone",
    "KeepFrozenFeatures",
    "LastCheckpoint",
    "MultigridShapes",
    "PreciseBatchNorm",
    "ProgressLines",
    "SeedSteps",
    "Throughput",
    "TrainingBar",
    "UnfinishedScores",
    "UnreadableVideos",
    "ValidationViews",
    "WriteScores",
]
