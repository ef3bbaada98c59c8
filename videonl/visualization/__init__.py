"""What a block attends to: maps read from a network, drawn as pictures, films and a page to explore, kept as arrays."""

from videonl.visualization.arrays import save_arrays
from videonl.visualization.attention import AttentionMap, attention_maps
from videonl.visualization.clip import ShownClip
from videonl.visualization.drawing import overlay
from videonl.visualization.queries import parse_queries, parse_query
from videonl.visualization.render import film, strip

__all__ = [
    "AttentionMap",
    "ShownClip",
    "attention_maps",
    "film",
    "overlay",
    "parse_queries",
    "parse_query",
    "save_arrays",
    "strip",
]
