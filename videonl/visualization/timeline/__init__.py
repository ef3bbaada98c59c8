"""What a network says of every moment of a video: kept, joined to segments, written, and shown on a page."""

from videonl.visualization.timeline.page import copy_beside
from videonl.visualization.timeline.segments import Segment
from videonl.visualization.timeline.timeline import THRESHOLD, Timeline
from videonl.visualization.timeline.writing import SUFFIXES, check_suffix

__all__ = ["SUFFIXES", "THRESHOLD", "Segment", "Timeline", "check_suffix", "copy_beside"]
