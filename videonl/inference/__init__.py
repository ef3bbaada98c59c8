"""From clips to scores: the one road that training's evaluations and every command take."""

from videonl.inference.recognizer import VIEWS_PER_STEP, Recognizer, network_input
from videonl.inference.windows import Window, Windows, scored

__all__ = ["VIEWS_PER_STEP", "Recognizer", "Window", "Windows", "network_input", "scored"]
