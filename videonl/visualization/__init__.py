"""What a block attends to: maps read from a network, drawn over the clip's frames as a PNG strip or an MP4 film."""

from videonl.visualization.attention import AttentionMap, attention_maps, parse_query
from videonl.visualization.drawing import overlay
from videonl.visualization.render import film, strip

__all__ = ["AttentionMap", "attention_maps", "film", "overlay", "parse_query", "strip"]
