"""Evaluation: clips and crops to one score per video, and what the scores say."""

from videonl.evaluation.metrics import accuracies
from videonl.evaluation.report import print_accuracies, write_scores
from videonl.evaluation.views import VideoScore, VideoScores, stack

__all__ = ["VideoScore", "VideoScores", "accuracies", "print_accuracies", "stack", "write_scores"]
