"""Networks put together: backbone, blocks and head."""

from videonl.models.classifier import ClipClassifier
from videonl.models.placement import InsertedAfter, Insertion, insert

__all__ = ["ClipClassifier", "InsertedAfter", "Insertion", "insert"]
