"""Evaluation: clips and crops to one score per video, what the scores say, and the reports that show it."""

from videonl.evaluation.averaging import Average, average_of, is_of_several
from videonl.evaluation.comparison import Comparison, compare
from videonl.evaluation.metrics import accuracies
from videonl.evaluation.record import EvaluationRecord, read_record, write_record
from videonl.evaluation.views import Label, VideoScore, VideoScores, stack

__all__ = [
    "Average",
    "Comparison",
    "EvaluationRecord",
    "Label",
    "VideoScore",
    "VideoScores",
    "accuracies",
    "average_of",
    "compare",
    "is_of_several",
    "read_record",
    "stack",
    "write_record",
]
