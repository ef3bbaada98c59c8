"""Evaluation: clips and crops to one score per video, what the scores say, and the reports that show it."""

from videonl.evaluation.comparison import Comparison, compare
from videonl.evaluation.metrics import accuracies
from videonl.evaluation.record import EvaluationRecord, read_record, write_record
from videonl.evaluation.views import Average, VideoScore, VideoScores, stack

__all__ = [
    "Average",
    "Comparison",
    "EvaluationRecord",
    "VideoScore",
    "VideoScores",
    "accuracies",
    "compare",
    "read_record",
    "stack",
    "write_record",
]
