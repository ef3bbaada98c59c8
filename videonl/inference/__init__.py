"""From videos to scores: the one road that training's evaluations, every command and the Python API take."""

from videonl.inference.features import Features
from videonl.inference.model import Model, load
from videonl.inference.prediction import Prediction
from videonl.inference.predictions import Predictions
from videonl.inference.recognizer import VIEWS_PER_STEP, Recognizer, network_input
from videonl.inference.scoring import score_videos
from videonl.inference.sliding import scored
from videonl.inference.stream import Stream, StreamPrediction
from videonl.inference.timeline import Segment, Timeline, timeline_of
from videonl.inference.windows import Window, Windows

__all__ = [
    "VIEWS_PER_STEP",
    "Features",
    "Model",
    "Prediction",
    "Predictions",
    "Recognizer",
    "Segment",
    "Stream",
    "StreamPrediction",
    "Timeline",
    "Window",
    "Windows",
    "load",
    "network_input",
    "score_videos",
    "scored",
    "timeline_of",
]
