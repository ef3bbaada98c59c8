"""Networks put together: backbone, blocks and head."""

from videonl.models.classifier import ClipClassifier
from videonl.models.execution import Execution
from videonl.models.placement import Insertion, insert
from videonl.models.wrapping import InsertedAfter

__all__ = ["ClipClassifier", "Execution", "InsertedAfter", "Insertion", "insert"]
