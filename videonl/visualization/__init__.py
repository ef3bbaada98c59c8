"""What blocks attend to and what speaks for a class: read from a network, drawn, explored, kept as arrays."""

from videonl.visualization.arrays import save_arrays, save_evidence
from videonl.visualization.attention import AttentionMap, attention_maps
from videonl.visualization.clip import ShownClip
from videonl.visualization.drawing import overlay
from videonl.visualization.evidence import EvidenceMap, evidence_maps, last_features
from videonl.visualization.maps import SpacetimeMap
from videonl.visualization.queries import parse_queries, parse_query
from videonl.visualization.render import film, strip

__all__ = [
    "AttentionMap",
    "EvidenceMap",
    "ShownClip",
    "SpacetimeMap",
    "attention_maps",
    "evidence_maps",
    "film",
    "last_features",
    "overlay",
    "parse_queries",
    "parse_query",
    "save_arrays",
    "save_evidence",
    "strip",
]
