"""A study: variants of a training x seeds, run as ordinary trainings and tests, and compared in one report."""

from videonl.study.folder import StudyFolder
from videonl.study.plan import Cell, Cost, Study

__all__ = ["Cell", "Cost", "Study", "StudyFolder"]
